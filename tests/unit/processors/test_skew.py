"""A report merged from the pieces of disjoint facts is the one of all facts, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_processors import rollups, skew
from millrace_processors.reports import Reports, compute
from tests.support.examples import examples
from tests.unit.processors.test_reports import FACTS, arranged, by_definition, fact, row


def reports(found: Iterator[Reports]) -> dict[tuple[str, int, str], dict[str, Any]]:
    got: dict[tuple[str, int, str], dict[str, Any]] = {}
    for each in found:
        for index, key in enumerate(zip(each.merchants, each.window_ms.tolist(), each.currencies, strict=True)):
            assert key not in got
            got[key] = row(each, index)
    return got


@given(FACTS, st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=examples(), deadline=None)
def test_pieces_give_what_all_facts_give(facts: list[dict[str, Any]], parts: int, size: int) -> None:  # I6
    whole, rows = list[Reports](), list[tuple[str, int, str, bytes]]()
    for part in range(parts):
        mine = [f for f in facts if (crc32(f["fact_id"].encode()) % parts if f["merchant_id"] == "m1" else 0) == part]
        if mine:
            here, pieces = skew.divided(compute(arranged(mine)), {"m1": parts})
            assert "m1" not in here.merchants
            whole.append(here)
            rows += pieces
    rows.sort(key=lambda each: each[:3])
    table = pa.RecordBatch.from_pylist([dict(zip(skew.PIECE, each, strict=True)) for each in rows], skew.SCHEMA)
    merged = skew.merged(table.slice(at, size) for at in range(0, table.num_rows, size))
    assert reports(iter([*whole, *merged])) == by_definition(facts)


def test_reports_of_others_are_left_as_they_are() -> None:
    found = compute(arranged([fact(merchant_id="m1"), fact(merchant_id="m2")]))
    assert skew.divided(found, {"m3": 2}) == (found, [])
    assert rollups.chosen(found, [1]).merchants == ["m2"]


def test_no_pieces_give_no_reports() -> None:
    assert list(skew.merged(iter([]))) == []
