"""Ranges of 10-minute reports are the same whichever of their days are packed, and read what they need only."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.windows import to_ms
from millrace_graphql.ranges.columns import COLUMNS, Group, Rows
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.raw_reports import PACKED_FROM_MS, RawReports, packed_through
from tests.unit.graphql_api.facts import DAY, WINDOW
from tests.unit.graphql_api.shelf import Facts, Shelf
from tests.unit.graphql_api.test_compose import DAYS, FACTS, START, paid

HOUR = 3_600_000
MONTH = to_ms(datetime(2026, 4, 1, tzinfo=UTC))


def plain(rows: Rows) -> dict[str, Any]:
    return {
        f"{group}.{name}": list(zip(data.starts.tolist(), data.currencies.tolist(), list(data.values[name]), strict=True))
        for group, data in rows.items()
        for name in COLUMNS[group]
    }


def read(shelf: Shelf, start_ms: int, end_ms: int, packed_ms: int | None, groups: frozenset[Group] = frozenset(Group)) -> dict[str, Any]:
    return plain(asyncio.run(RawReports(shelf).read("m", start_ms, end_ms, groups, packed_ms)))


@given(
    FACTS,
    st.sets(st.integers(0, DAYS - 1)),
    st.tuples(st.integers(-20, DAYS * 144), st.integers(1, DAYS * 144)),
    st.integers(0, DAYS * 144),
    st.sets(st.sampled_from(Group), min_size=1),
)
def test_a_range_is_the_same_whichever_days_are_packed(
    facts: Facts, packed: set[int], span: tuple[int, int], through: int, groups: set[Group]
) -> None:
    low, high = START + span[0] * WINDOW, START + (span[0] + span[1]) * WINDOW
    wanted = frozenset({Group.COUNTERS, *groups})
    shelf = Shelf(facts, {}, [START + day * DAY for day in packed])
    assert read(shelf, low, high, START + through * WINDOW, wanted) == read(Shelf(facts, {}), low, high, None, wanted)


def everyday(days: int, start: int = START) -> Facts:
    return paid(*(start + day * DAY + HOUR for day in range(days)))


def test_a_packed_day_is_one_read_and_its_rows_are_none() -> None:
    shelf = Shelf(everyday(1), {}, [START])
    read(shelf, START, START + DAY, START + DAY)
    assert (shelf.packed_spans, shelf.raw_spans) == ([(START, START + DAY)], [])


def test_days_that_are_not_packed_are_read_in_as_few_slices_as_possible() -> None:
    shelf = Shelf(everyday(12), {}, [START + day * DAY for day in (0, 1, 3, 6, 7)])
    found = read(shelf, START, START + 12 * DAY, START + 10 * DAY)
    assert shelf.packed_spans == [(START, START + 10 * DAY)]
    # Days 2, 4 and 5 at once (3 lies between them), 8 and 9, and the two that are open.
    assert sorted(shelf.raw_spans) == [(START + low * DAY, START + high * DAY) for low, high in ((2, 6), (8, 10), (10, 12))]
    assert [start for start, *_ in found["counters.payments"]] == [START + day * DAY + HOUR for day in range(12)]


@pytest.mark.parametrize(("part", "asked"), [(PACKED_FROM_MS, True), (PACKED_FROM_MS - WINDOW, False)])
def test_a_short_part_of_a_day_is_read_from_its_rows(part: int, asked: bool) -> None:
    shelf = Shelf(everyday(1), {}, [START])
    read(shelf, START, START + part, START + DAY)
    assert (len(shelf.packed_spans), len(shelf.raw_spans)) == ((1, 0) if asked else (0, 1))


def test_parts_of_two_days_that_make_one_day_of_a_zone_are_read_packed() -> None:
    shelf = Shelf(everyday(3), {}, [START, START + DAY, START + 2 * DAY])
    found = read(shelf, START + 15 * HOUR, START + 39 * HOUR, START + 3 * DAY)
    assert shelf.raw_spans == []
    assert [start for start, *_ in found["counters.payments"]] == [START + 25 * HOUR]


def test_each_month_is_a_read_of_its_own() -> None:
    shelf = Shelf(everyday(4, MONTH - 2 * DAY), {}, [MONTH + day * DAY for day in range(-2, 2)])
    found = read(shelf, MONTH - 2 * DAY, MONTH + 2 * DAY, MONTH + 9 * DAY)
    assert len(shelf.packed_spans) == 2
    assert len(found["counters.payments"]) == 4


@pytest.mark.parametrize("through", [None, START + DAY - 1])
def test_days_that_rollups_have_not_passed_are_not_looked_for(through: int | None) -> None:
    shelf = Shelf(everyday(1), {}, [START])
    read(shelf, START, START + DAY, through)
    assert (shelf.packed_spans, shelf.raw_spans) == ([], [(START, START + DAY)])


@pytest.mark.parametrize(
    ("reports", "rollups", "expected"), [(None, 5, None), (5, None, None), (9 * DAY, 5, 5), (5, 9, 5)]
)  # fmt: skip
def test_packed_days_are_looked_for_however_far_rollups_are_behind(reports: int | None, rollups: int | None, expected: int | None) -> None:
    assert packed_through(Progress(0, reports, rollups)) == expected
