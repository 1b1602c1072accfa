"""Windows and buckets, worked by hand."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.windows import Grain, bucket, buckets, from_ms, to_ms, window_start, window_start_ms

INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("instant", "start"),
    [
        (datetime(2026, 11, 24, 12, 9, 59, 999_000, UTC), datetime(2026, 11, 24, 12, 0, tzinfo=UTC)),
        (datetime(2026, 11, 24, 12, 10, tzinfo=UTC), datetime(2026, 11, 24, 12, 10, tzinfo=UTC)),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1969, 12, 31, 23, 50, tzinfo=UTC)),
        (datetime(2026, 1, 1, 5, 47, tzinfo=timezone(timedelta(hours=5, minutes=45))), datetime(2026, 1, 1, 0, 0, tzinfo=UTC)),
    ],
)
def test_an_instant_falls_into_the_window_that_starts_at_or_before_it(instant: datetime, start: datetime) -> None:
    assert window_start(instant) == start


@given(INSTANTS)
def test_milliseconds_survive_the_way_there_and_back(instant: datetime) -> None:
    instant = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    assert from_ms(to_ms(instant)) == instant


@given(st.integers(-(10**13), 10**13))
def test_a_window_holds_its_instant(ms: int) -> None:
    start = window_start_ms(ms)
    assert start <= ms < start + 600_000
    assert start % 600_000 == 0


def test_buckets_are_month_year_and_all() -> None:
    start = datetime(2026, 2, 28, 23, 50, tzinfo=UTC)
    assert [bucket(grain, start) for grain in Grain] == ["2026-02", "2026", "all"]


def test_a_range_names_each_bucket_once_and_leaves_out_the_end() -> None:
    start, end = datetime(2025, 11, 30, 23, 50, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert buckets(Grain.TEN_MINUTES, start, end) == ["2025-11", "2025-12", "2026-01"]
    assert buckets(Grain.HOUR, start, end) == ["2025", "2026"]
    assert buckets(Grain.DAY, start, end) == ["all"]
    assert buckets(Grain.TEN_MINUTES, end, end) == []


@given(INSTANTS, st.integers(1, 400))
def test_every_window_of_a_range_is_in_one_of_its_buckets(start: datetime, hours: int) -> None:
    end = start + timedelta(hours=hours)
    for grain in Grain:
        held = buckets(grain, start, end)
        assert {bucket(grain, start), bucket(grain, end - timedelta(milliseconds=1))} <= set(held)
        assert len(held) == len(set(held))
