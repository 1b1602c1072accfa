"""A range goes on at a newer time where MongoDB no longer knows the first one, and no document is lost or comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from millrace_processors import mongo_source
from millrace_processors.mongo_source import Plan

PLAN = Plan("mongodb://x", "commerce", (100, 1), "{}", ((None, None),))


def documents(*ids: str) -> list[RawBSONDocument]:
    return [RawBSONDocument(bson.encode({"_id": each})) for each in ids]


def read(monkeypatch: pytest.MonkeyPatch, *attempts: tuple[list[list[str]], int | None]) -> tuple[list[Any], list[dict[str, Any]]]:
    """What comes of reads that each give portions and then fail with a code, and the commands that were sent."""
    commands: list[dict[str, Any]] = []

    def portions(database: Any, command: dict[str, Any]) -> Iterator[list[RawBSONDocument]]:
        given, code = attempts[len(commands)]
        commands.append(command)
        for ids in given:
            yield documents(*ids)
        if code is not None:
            raise OperationFailure("gone", code)

    monkeypatch.setattr(mongo_source, "_portions", portions)
    monkeypatch.setattr(mongo_source, "now", lambda database: (200, 5))
    found = mongo_source.read(None, PLAN, (None, '{"_id": "z"}'))  # type: ignore[arg-type]
    return [([each["_id"] for each in portion], at) for portion, at in found], commands


@pytest.mark.parametrize("code", sorted(mongo_source.TOO_OLD))
def test_the_rest_is_read_at_a_newer_time(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    found, commands = read(monkeypatch, ([["a", "b"], ["c"]], code), ([["c", "d"], ["e"]], None))
    assert found == [(["a", "b"], (100, 1)), (["c"], (100, 1)), (["d"], (200, 5)), (["e"], (200, 5))]
    assert [command["readConcern"]["atClusterTime"].as_datetime().timestamp() for command in commands] == [100, 200]
    assert ["min" in command for command in commands] == [False, True]
    assert commands[1]["min"] == {"_id": "c"}
    assert commands[1]["max"] == {"_id": "z"}


def test_a_last_document_that_is_gone_meanwhile_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = read(monkeypatch, ([["a", "b"]], 239), ([["c"]], None))
    assert found == [(["a", "b"], (100, 1)), (["c"], (200, 5))]
    found, _ = read(monkeypatch, ([], 239), ([["a"]], None))
    assert found == [(["a"], (200, 5))]


def test_another_failure_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperationFailure):
        read(monkeypatch, ([["a"]], 13))


def test_what_the_uri_says_of_a_connection_wins_over_the_defaults() -> None:
    with mongo_source._connected("mongodb://a:1,b:2/?replicaSet=rs0&serverselectiontimeoutms=200&connect=false") as client:
        assert (client.options.server_selection_timeout, client.options.pool_options.connect_timeout) == (0.2, 5.0)
        assert client.options.pool_options.appname == "millrace-process"
