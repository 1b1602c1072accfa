"""Days of merchants' calendars: odd offsets, days of 23 and 25 hours, dates that a zone skipped; and the API's own days."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from millrace_contracts.values.zones import data, names, rules
from millrace_contracts.windows import from_ms, to_ms
from millrace_graphql.ranges.calendar import days
from millrace_processors.rollup_calendar import NONE, closed_days, day_starts
from tests.support.examples import TIMES

HOUR_MS = 3_600_000
YEARS = (1995, 2011, 2026)


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))


def by_the_clock(zone: str, first: datetime, last: datetime) -> list[int]:
    """The instants at which a clock that is read every five minutes shows a date for the first time."""
    place, newest, found, now = rules(zone), None, [], first
    while now <= last:
        date = now.astimezone(place).date()
        if newest is None or date > newest:
            if newest is not None:
                found.append(to_ms(now))
            newest = date
        now += timedelta(minutes=5)
    return found


@pytest.mark.parametrize(
    ("zone", "around", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", [24, 23, 24]),
        ("Europe/Berlin", "2026-10-25", [24, 25, 24]),
        ("America/Santiago", "2026-09-06", [24, 23, 24]),  # the clocks jump over midnight
        ("America/Havana", "2025-11-02", [24, 25, 24]),
        ("Asia/Kathmandu", "2026-05-05", [24, 24, 24]),
        ("Australia/Lord_Howe", "2026-04-05", [24, 24.5, 24]),
        ("Pacific/Apia", "2011-12-31", [24, 24, 24]),  # there was no 30 December
    ],
)
def test_days_have_the_length_that_the_clocks_give_them(zone: str, around: str, hours: list[float]) -> None:
    noon = ms(f"{around}T12:00:00+00:00")
    first = datetime.fromisoformat(f"{around}T00:00:00+00:00") - timedelta(days=4)
    expected = by_the_clock(zone, first, first + timedelta(days=8))
    starts = day_starts(zone, expected[0], expected[-1])
    assert starts[:-1].tolist() == expected
    middle = int(np.searchsorted(starts, noon, side="right")) - 1
    if zone == "Pacific/Apia":
        middle = expected.index(ms("2011-12-30T10:00:00+00:00"))
    lengths = [(after - before) / HOUR_MS for before, after in itertools.pairwise(starts.tolist())]
    assert lengths[middle - 1 : middle + 2] == hours


def test_every_zone_has_the_days_of_the_api() -> None:
    different = {data(zone): zone for zone in sorted(names())}  # many zones are one table under two names
    assert len(different) > 300
    for at, zone in enumerate(different.values()):
        # Each zone in one of the years; in all of them where there is time for it.
        for year in YEARS if TIMES > 1 else YEARS[at % len(YEARS) :][:1]:
            start, end = ms(f"{year}-01-01T00:00:00+00:00"), ms(f"{year}-12-31T00:00:00+00:00")
            found = day_starts(zone, start, end)
            theirs, _ = days(zone, start, end)
            assert found[(found >= start) & (found <= end)].tolist() == theirs.tolist(), zone


def test_an_instant_gets_the_day_that_holds_it_once_that_day_has_closed() -> None:
    at = np.array([ms("2026-11-24T14:50:00+00:00"), ms("2026-11-24T15:00:00+00:00"), ms("2026-11-24T15:00:00+00:00")])
    zones = ["Asia/Seoul", "Asia/Seoul", None]
    seoul_24, seoul_25, utc_24 = (ms(f"{text}:00+00:00") for text in ("2026-11-23T15:00", "2026-11-24T15:00", "2026-11-24T00:00"))
    assert closed_days(zones, at, 0, ms("2026-11-24T15:00:00+00:00")).tolist() == [seoul_24, NONE, NONE]
    assert closed_days(zones, at, 0, ms("2026-11-25T15:00:00+00:00")).tolist() == [seoul_24, seoul_25, utc_24]
    assert closed_days(zones, at, ms("2026-11-25T00:00:00+00:00"), ms("2026-11-25T15:00:00+00:00")).tolist() == [NONE, seoul_25, NONE]


def test_a_day_that_ends_inside_a_ten_minute_window_closes_with_that_window() -> None:
    at = np.array([ms("2026-11-24T10:00:00+00:00")])
    end = ms("2026-11-24T18:15:00+00:00")  # midnight in Kathmandu
    assert closed_days(["Asia/Kathmandu"], at, 0, end).tolist() == [NONE]
    assert closed_days(["Asia/Kathmandu"], at, 0, ms("2026-11-24T18:20:00+00:00")).tolist() == [ms("2026-11-23T18:15:00+00:00")]


def test_days_follow_one_another_without_a_gap_over_years() -> None:
    starts = day_starts("Europe/Lisbon", ms("2020-01-01T00:00:00+00:00"), ms("2026-01-01T00:00:00+00:00"))
    place = rules("Europe/Lisbon")
    dates = [from_ms(start).astimezone(place).date() for start in starts.tolist()]
    assert dates == [dates[0] + timedelta(days=number) for number in range(len(dates))]
    assert all(from_ms(start).astimezone(place).hour == 0 for start in starts.tolist())
    assert datetime.fromtimestamp(starts[0] / 1000, UTC) == datetime(2020, 1, 1, tzinfo=UTC)
