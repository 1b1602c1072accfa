"""Hours as few ranges."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millrace_processors.pruning import MOST_MERCHANTS, extent_of, ranges

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(*hours: int) -> list[datetime]:
    return [START + hour * HOUR for hour in hours]


def test_hours_that_follow_each_other_are_one_range() -> None:
    assert ranges(at(0, 1, 2, 7)) == ((START, START + 3 * HOUR), (START + 7 * HOUR, START + 8 * HOUR))


def test_beyond_the_limit_the_smallest_gaps_are_bridged() -> None:
    assert ranges(at(0, 2, 50, 53), most=2) == ((START, START + 3 * HOUR), (START + 50 * HOUR, START + 54 * HOUR))


def test_no_hours_are_no_range() -> None:
    assert ranges([]) == ()


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 20))
def test_every_hour_is_inside_and_the_ranges_are_few_and_apart(hours: set[int], most: int) -> None:
    found = ranges(at(*sorted(hours)), most)
    assert 1 <= len(found) <= most
    assert all(any(low <= hour < high for low, high in found) for hour in at(*hours))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


def keys(*found: tuple[str, datetime]) -> pa.Table:
    merchants, starts = zip(*found, strict=True)
    window = pa.array(starts, pa.timestamp("us", "UTC"))
    return pa.table({"merchant_id": pa.array(merchants), "window_start": window, "currency": pa.array(["USD"] * len(found))})


def test_a_few_keys_are_pruned_by_window_and_by_merchant() -> None:
    minute = timedelta(minutes=1)
    found = extent_of(keys(("b", START), ("a", START + 10 * minute), ("b", START + 40 * minute)))
    assert found.keys == 3
    assert found.ranges == ((START, START + 20 * minute), (START + 40 * minute, START + 50 * minute))
    assert found.merchants == ("a", "b")


def test_too_many_merchants_are_not_named() -> None:
    assert extent_of(keys(*((f"m{number}", START) for number in range(MOST_MERCHANTS + 1)))).merchants is None
