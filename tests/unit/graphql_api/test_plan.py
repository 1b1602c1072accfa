"""Ranges: what is read, and what is refused with which words."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.plan import Range, checked_range, checked_window, day_start_ms, days_of, iso, within_limits

MAY = datetime(2026, 5, 1, tzinfo=UTC)


def check(start: datetime, end: datetime, grain: Grain = Grain.TEN_MINUTES, sparse: bool = False, zone: str = "UTC") -> Range:
    return within_limits(checked_range(start, end, grain, zone), sparse=sparse, max_points=5_000, max_sparse_days=400)


def test_a_day_of_ten_minutes_has_144_windows_and_one_chunk() -> None:
    asked = check(MAY, MAY + timedelta(days=1))
    assert (asked.windows, days_of(asked.start_ms, asked.end_ms)) == (144, ["2026-05-01"])


def test_a_range_over_midnight_touches_two_days() -> None:
    asked = check(datetime(2026, 4, 30, 23, 50, tzinfo=UTC), datetime(2026, 5, 1, 0, 10, tzinfo=UTC))
    assert (asked.windows, days_of(asked.start_ms, asked.end_ms)) == (2, ["2026-04-30", "2026-05-01"])


def test_an_offset_is_taken_as_the_instant_that_it_is() -> None:
    seoul = timezone(timedelta(hours=9))
    assert check(datetime(2026, 5, 1, 9, tzinfo=seoul), datetime(2026, 5, 1, 10, tzinfo=seoul)) == check(MAY, MAY + timedelta(hours=1))


@pytest.mark.parametrize(
    ("start", "end", "grain", "sparse", "message"),
    [
        (MAY, MAY, Grain.TEN_MINUTES, False, "end: 2026-05-01T00:00:00Z is not after start"),
        (MAY, MAY - timedelta(days=1), Grain.TEN_MINUTES, False, "swap them or give a later end"),
        (MAY + timedelta(minutes=5), MAY + timedelta(days=1), Grain.TEN_MINUTES, False, "start: 2026-05-01T00:05:00"),
        (MAY + timedelta(minutes=10), MAY + timedelta(days=1), Grain.HOUR, False, "take 2026-05-01T00:00:00Z or 2026-05-01T01:00:00Z"),
        (MAY, MAY + timedelta(hours=36), Grain.DAY, False, "end: 2026-05-02T12:00:00"),
        (MAY, MAY + timedelta(days=100), Grain.TEN_MINUTES, False, "makes 14400 windows of TEN_MINUTES; a dense series holds at most 5000"),
        (MAY, MAY + timedelta(days=401), Grain.TEN_MINUTES, True, "makes 401 days; ask for at most 400 days"),
        (datetime(1970, 1, 1, tzinfo=UTC), MAY, Grain.TEN_MINUTES, True, "start: 1970-01-01T00:00:00+00:00 is out of reach"),
        (MAY, datetime(2100, 1, 2, tzinfo=UTC), Grain.DAY, True, "end: 2100-01-02T00:00:00+00:00 is out of reach"),
    ],
)
def test_a_range_that_does_not_fit_names_argument_value_and_fix(
    start: datetime, end: datetime, grain: Grain, sparse: bool, message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        check(start, end, grain, sparse)
    assert message in error.value.message


def test_the_fix_of_a_too_long_range_is_itself_taken() -> None:
    with pytest.raises(InvalidArgumentError) as error:
        check(MAY, MAY + timedelta(days=100))
    latest = datetime.fromisoformat(error.value.data["fix"].split("end by ")[1].split(",")[0])
    assert check(MAY, latest).windows == 5_000


def test_one_window_must_start_on_a_boundary() -> None:
    assert checked_window(MAY).windows == 1
    with pytest.raises(InvalidArgumentError, match="boundary of TEN_MINUTES"):
        checked_window(MAY + timedelta(seconds=1))


@given(st.integers(0, 4000), st.integers(1, 4000))
def test_days_cover_a_range_without_gap_or_surplus(first: int, windows: int) -> None:
    base = 1_777_593_600_000
    asked = Range(base + first * 600_000, base + (first + windows) * 600_000, Grain.TEN_MINUTES)
    starts = [day_start_ms(day) for day in days_of(asked.start_ms, asked.end_ms)]
    assert starts[0] <= asked.start_ms < starts[0] + 86_400_000
    assert starts[-1] < asked.end_ms <= starts[-1] + 86_400_000
    assert all(b - a == 86_400_000 for a, b in itertools.pairwise(starts))


def test_instants_are_written_in_utc_with_milliseconds_only_where_there_are_some() -> None:
    assert (iso(0), iso(1_500)) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:01.500Z")
