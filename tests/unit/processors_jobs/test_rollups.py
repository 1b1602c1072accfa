"""Hours and days are the same bytes whichever way they are merged (I6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from datasketches import theta_union, update_theta_sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts.reports import BREAKDOWNS, COUNTERS
from millrace_processors import rollups
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.reports import Reports, compute
from tests.support.examples import examples
from tests.unit.processors_jobs.facts import HOUR_MS, WINDOW_MS, arranged, some

DAY_MS = 24 * HOUR_MS


def rows(reports: Reports) -> dict[tuple[str, int, str], tuple[Any, ...]]:
    """Every report by its key, with each column's value."""
    found = {}
    for at, key in enumerate(zip(reports.merchants, reports.window_ms.tolist(), reports.currencies, strict=True)):
        counters = tuple(int(reports.counters[name][at]) for name in COUNTERS)
        maps = tuple(reports.breakdowns[name][at] for name in BREAKDOWNS)
        assert key not in found
        found[key] = (*counters, *maps, reports.customers[at], reports.amounts[at], int(reports.revision[at]))
    return found


def longer(reports: Reports, length_ms: int) -> Reports:
    """The merge of reports into windows of UTC."""
    window_ms = reports.window_ms - reports.window_ms % length_ms
    moved = Reports(**{**vars(reports), "window_ms": window_ms})
    keys = list(zip(reports.merchants, window_ms.tolist(), reports.currencies, strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return rollups.merged_runs([rollups.part(moved, at, at + 1) for at in order])


def cut(batch: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    """A batch as Arrow hands it over: in pieces of so many rows."""
    return (batch.slice(at, size) for at in range(0, batch.num_rows, size))


@given(st.integers(0, 10**6), st.integers(1, 400), st.integers(1, 150), st.integers(1, 60))
@settings(max_examples=examples(15), deadline=None)
def test_the_merge_of_ten_minute_reports_is_what_all_facts_give(seed: int, count: int, windows: int, size: int) -> None:
    facts = some(seed, count, windows=windows)
    for length_ms in (HOUR_MS, DAY_MS):
        batch = arranged(facts, length_ms)
        merged = rows(longer(compute(arranged(facts, WINDOW_MS)), length_ms))
        whole = rows(compute(batch, "long_window"))
        in_pieces = rows(rollups.joined([found for found, _ in whole_reports(cut(batch, size), "long_window")]))
        assert merged == whole == in_pieces


@given(st.integers(0, 10**6))
@settings(max_examples=examples(10), deadline=None)
def test_days_are_the_same_from_hours_as_from_ten_minutes(seed: int) -> None:
    reports = compute(arranged(some(seed, 300, windows=300), WINDOW_MS))
    assert rows(longer(longer(reports, HOUR_MS), DAY_MS)) == rows(longer(reports, DAY_MS))


def test_customers_beyond_the_exact_ones_give_the_same_bytes_in_any_merging() -> None:
    facts = some(7, 20_000, windows=30, customers=30_000)
    by_hour = longer(compute(arranged(facts, WINDOW_MS)), HOUR_MS)
    assert rows(longer(by_hour, DAY_MS)) == rows(compute(arranged(facts, DAY_MS), "long_window"))
    sketch, union = update_theta_sketch(12), theta_union(12)
    for name in (f"c{number}" for number in range(12_000)):
        sketch.update(name)
    union.update(sketch)
    thirds = []
    for third in range(3):
        part = update_theta_sketch(12)
        for number in range(third * 4_000, (third + 1) * 4_000):
            part.update(f"c{number}")
        thirds.append(bytes(part.compact(True).serialize()))
    assert rollups.merged_customers(thirds) == bytes(union.get_result(True).serialize())


@pytest.mark.parametrize("count", [4_096, 4_097, 6_000, 7_680])
def test_a_key_that_is_read_in_pieces_gives_the_bytes_of_one_that_is_read_whole(count: int) -> None:  # I6
    (fact,) = some(3, 1, windows=1)
    paid = {**fact, "kind": "payment", "retracted": False, "amount": 7}
    batch = arranged([{**paid, "fact_id": f"p{number:05d}", "customer_key": f"c{number}"} for number in range(count)], HOUR_MS)
    (whole,) = [found for found, _ in whole_reports(iter([batch]))]
    (pieces,) = [found for found, _ in whole_reports(cut(batch, 500))]
    assert rows(pieces) == rows(whole)
    assert whole.counters["payments"].tolist() == [count]


def test_a_move_inside_an_hour_counts_once_and_both_of_its_versions_are_in_the_revision() -> None:
    (fact,) = some(3, 1, windows=1)
    paid = {**fact, "kind": "payment", "retracted": False, "version": 1, "amount": 40}
    gone = {**paid, "retracted": True, "version": 2}
    there = {**paid, "window_start": paid["window_start"] + WINDOW_MS * 1000, "version": 2}
    found = compute(arranged([paid, gone, there], HOUR_MS), "long_window")
    assert (found.counters["payments"].tolist(), found.counters["gross"].tolist(), found.revision.tolist()) == ([1], [40], [3])


@pytest.mark.parametrize("amounts", [(0,), (5,), (0, 7), (9, 7)])
def test_a_window_without_a_payment_does_not_make_zero_the_smallest(amounts: tuple[int, ...]) -> None:
    (fact,) = some(3, 1, windows=1)
    fact = {**fact, "kind": "payment", "retracted": False, "version": 1}
    facts = [
        {**fact, "fact_id": f"p{at}", "amount": amount, "window_start": fact["window_start"] + at * WINDOW_MS * 1000}
        for at, amount in enumerate(amounts)
    ]
    refund = {**fact, "kind": "refund", "amount": 3, "window_start": fact["window_start"] + 5 * WINDOW_MS * 1000}
    found = longer(compute(arranged([*facts, refund], WINDOW_MS)), HOUR_MS)
    assert (found.counters["smallest"].tolist(), found.counters["largest"].tolist()) == ([min(amounts)], [max(amounts)])


def test_no_reports_give_no_windows() -> None:
    assert list(rollups.whole_windows(iter([]))) == []
