"""When the stream joins its small files."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.errors import AnalysisException

from millrace_processors import maintenance
from millrace_processors.joining import FileJoiner


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def join(lake: Any, small_files: int) -> tuple[int, int]:
        calls.append(lake)
        return 10, 1

    monkeypatch.setattr(maintenance, "join_facts", join)
    return calls


def batches(joiner: FileJoiner, *appended: bool) -> None:
    for each in appended:
        joiner.after_batch(each)


def test_files_are_joined_after_so_many_batches_with_facts(joined: list[Any]) -> None:
    lake: Any = object()
    joiner = FileJoiner(lake, 3)
    batches(joiner, True, False, True, False)
    assert joined == []
    batches(joiner, True)
    assert joined == [lake]
    batches(joiner, True, True)
    assert joined == [lake]
    batches(joiner, True)
    assert joined == [lake, lake]


def test_zero_is_never(joined: list[Any]) -> None:
    lake: Any = object()
    batches(FileJoiner(lake, 0), *[True] * 50)
    assert joined == []


def test_a_join_that_fails_fails_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def conflict(lake: Any, small_files: int) -> tuple[int, int]:
        tried.append(lake)
        raise AnalysisException("Cannot commit, missing data files")

    monkeypatch.setattr(maintenance, "join_facts", conflict)
    lake: Any = object()
    batches(FileJoiner(lake, 1), True, True)
    assert tried == [lake, lake]
