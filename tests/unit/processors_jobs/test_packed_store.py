"""What is deleted before reports are written, and whole days as their packed rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts import packed
from millrace_contracts.reports import BREAKDOWNS, COUNTERS, PACKED, SKETCHES
from millrace_contracts.settings import CassandraSettings
from millrace_processors import packed_store, rollups
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.report_store import Target
from millrace_processors.reports import Reports, compute
from tests.support.examples import examples
from tests.unit.processors_jobs.facts import START_MS, WINDOW_MS, arranged, some

DAY_MS = 86_400_000
TARGET = Target(CassandraSettings(), "ks", 8, 1.0, version=70, complete_through_ms=START_MS + 9 * DAY_MS)
BEFORE = replace(TARGET, complete_through_ms=START_MS)


def plain(cell: bytes) -> int:
    return int.from_bytes(cell, "big", signed=True)


def shadowed(monkeypatch: pytest.MonkeyPatch, reports: Reports, now_ms: int, target: Target = BEFORE) -> list[tuple[int, str, str, int]]:
    """(timestamp, merchant, bucket, day) of each deletion."""
    sent: list[Any] = []
    monkeypatch.setattr(packed_store.report_store, "send", lambda _target, _statement, rows, _what, _key: sent.extend(rows))
    packed_store.shadow(target, reports, lambda: now_ms)
    return [(plain(row[0]), row[1].decode(), row[2].decode(), plain(row[3])) for row in sent]


def test_each_ended_day_is_deleted_once_at_the_version_before(monkeypatch: pytest.MonkeyPatch) -> None:  # I7
    found = compute(arranged(some(1, 400, windows=144 * 8), WINDOW_MS))
    starts = set(zip(found.merchants, (found.window_ms // DAY_MS * DAY_MS).tolist(), strict=True))
    assert len(starts) == 16
    expected = [(69, name, "2025-11" if day < START_MS + 6 * DAY_MS else "2025-12", day) for name, day in sorted(starts)]
    assert shadowed(monkeypatch, found, START_MS + 8 * DAY_MS) == expected


@pytest.mark.parametrize(("ahead_ms", "days"), [(0, 1), (-3_600_001, 0), (-3_600_000, 1), (DAY_MS - 3_600_001, 1), (DAY_MS - 3_600_000, 2)])
def test_a_day_that_ends_later_than_in_an_hour_leaves_no_tombstone(monkeypatch: pytest.MonkeyPatch, ahead_ms: int, days: int) -> None:
    one = rollups.part(compute(arranged(some(1, 40, windows=1), WINDOW_MS)), 0, 1)
    both = rollups.joined([one, Reports(**{**vars(one), "window_ms": one.window_ms + DAY_MS})])
    found = shadowed(monkeypatch, both, START_MS + DAY_MS + ahead_ms)
    assert [day for *_, day in found] == [START_MS, START_MS + DAY_MS][:days]


@pytest.mark.parametrize(("through", "days"), [(None, 0), (START_MS + DAY_MS - 1, 0), (START_MS + DAY_MS, 1)])
def test_a_clock_that_is_behind_what_is_complete_is_not_believed(monkeypatch: pytest.MonkeyPatch, through: int | None, days: int) -> None:
    one = rollups.part(compute(arranged(some(1, 40, windows=1), WINDOW_MS)), 0, 1)
    assert len(shadowed(monkeypatch, one, START_MS - DAY_MS, replace(TARGET, complete_through_ms=through))) == days


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 700), st.integers(1, 60))
@settings(max_examples=examples(12), deadline=None)
def test_packed_rows_hold_each_report_however_the_facts_came_in_batches(seed: int, count: int, windows: int, size: int) -> None:  # I6
    batch = arranged(some(seed, count, windows=windows), WINDOW_MS)
    # Facts sorted by merchant, start and currency, as the job sorts them.
    order = sorted(range(batch.num_rows), key=lambda row: (batch["merchant_id"][row].as_py(), batch["window_start"][row].as_py()))
    batch = batch.take(np.array(order))
    whole = compute(batch)
    pieces = (found for found, _ in whole_reports(batch.slice(at, size) for at in range(0, batch.num_rows, size)))
    rows = [row for days in packed_store.whole_days(pieces) for row in packed_store.rows(TARGET, days)]
    keys = [(row[0].decode(), plain(row[2])) for row in rows]
    assert keys == sorted(set(keys)), "each day once"
    read: list[tuple[Any, ...]] = []
    for (merchant, day), row in zip(keys, rows, strict=True):
        assert [plain(cell) for cell in row[-3:]] == [70, START_MS + 9 * DAY_MS, 70]
        data = dict(zip(PACKED, row[3:], strict=False))
        windows_of = packed.decode_windows(day, data["windows"])
        numbers = zip(*(column.tolist() for column in packed.decode_numbers(data["numbers"])), strict=True)
        maps = zip(*(packed.decode_maps(data[name]) for name in BREAKDOWNS), strict=True)
        blobs = zip(*(packed.decode_blobs(data[name]) for name in SKETCHES), strict=True)
        parts = (windows_of.starts.tolist(), windows_of.currencies.tolist(), numbers, maps, blobs)
        read += [(merchant, *each) for each in zip(*parts, strict=True)]
    assert read == expected(whole)


def expected(reports: Reports) -> list[tuple[Any, ...]]:
    """Each report as it is."""
    numbers = zip(*(reports.counters[name].tolist() for name in COUNTERS), reports.revision.tolist(), strict=True)
    maps = zip(*([entries(data) for data in reports.breakdowns[name]] for name in BREAKDOWNS), strict=True)
    blobs = zip(reports.customers, reports.amounts, strict=True)
    return list(zip(reports.merchants, reports.window_ms.tolist(), reports.currencies, numbers, maps, blobs, strict=True))


def entries(data: bytes) -> dict[str, list[int]]:
    return {name.decode(): list(pair) for name, pair in rollups.entries(data).items()}


def test_a_day_that_is_too_large_for_one_row_stays_in_its_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compute(arranged(some(3, 200, windows=10), WINDOW_MS))
    sizes = [sum(map(len, row[3:-3])) for row in packed_store.rows(TARGET, found)]
    assert len(sizes) == 2
    monkeypatch.setattr(packed_store, "MOST_BYTES", min(sizes))
    assert [sum(map(len, row[3:-3])) for row in packed_store.rows(TARGET, found)] == [min(sizes)]
