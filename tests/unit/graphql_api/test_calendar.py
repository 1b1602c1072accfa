"""Windows of a calendar against a clock that is read every five minutes, and by hand where clocks and dates jump."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts.values.zones import names, rules
from millrace_contracts.windows import from_ms, to_ms
from millrace_graphql.ranges.calendar import Grain, Preset, boundaries, preset_range
from millrace_graphql.ranges.plan import Range
from tests.support.examples import examples

FIVE_MINUTES = 300_000
HOUR, DAY = 3_600_000, 86_400_000
CHANGEFUL = [
    "America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Pacific/Chatham", "America/Havana",
    "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo", "Africa/Casablanca", "Asia/Pyongyang", "Asia/Tehran", "America/Scoresbysund",
    "America/Caracas", "Antarctica/Troll", "Asia/Gaza", "Pacific/Kiritimati", "UTC",
]  # fmt: skip


def ms(text: str) -> int:
    """Epoch ms of an ISO text; of UTC where it names no offset."""
    moment = datetime.fromisoformat(text)
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def walked(grain: Grain, zone: str, start: int, end: int) -> list[int]:
    """Boundaries in [start, end], found by reading the wall clock every five minutes from long before."""
    place, found, newest, before = rules(zone), [], None, None
    for instant in range(start - 33 * DAY, end + 1, FIVE_MINUTES):
        local = from_ms(instant).astimezone(place)
        period: object
        if grain is Grain.HOUR:
            shift = local.utcoffset()
            assert shift is not None
            period = instant - (instant + shift // timedelta(milliseconds=1)) % HOUR  # where the wall clock's hour began
            begins = before is not None and period != before
            before = period
        else:
            date = local.date()
            period = {Grain.DAY: date, Grain.WEEK: date - timedelta(days=date.weekday()), Grain.MONTH: date.replace(day=1)}[grain]
            begins = newest is not None and period > newest
            newest = period if newest is None else max(newest, period)
        if begins and start <= instant:
            found.append(instant)
    return found


@settings(max_examples=examples(10), deadline=None)
@given(
    st.sampled_from([Grain.HOUR, Grain.DAY, Grain.WEEK, Grain.MONTH]),
    st.one_of(st.sampled_from(CHANGEFUL), st.sampled_from(sorted(names()))),
    st.integers(ms("2000-03-01") // DAY, ms("2037-12-01") // DAY),
    st.integers(0, 287),
    st.integers(1, 9),
)
def test_every_boundary_is_where_the_wall_clock_says(grain: Grain, zone: str, day: int, minute: int, days: int) -> None:
    start = day * DAY + minute * FIVE_MINUTES
    end = start + days * DAY
    assert boundaries(grain, zone, start, end).tolist() == walked(grain, zone, start, end)


@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("America/New_York", "2026-03-08"), ("America/New_York", "2026-11-01"), ("Australia/Lord_Howe", "2026-04-05"),
        ("Australia/Lord_Howe", "2026-10-04"), ("Pacific/Apia", "2011-12-30"), ("America/Havana", "2025-11-02"),
        ("America/Sao_Paulo", "2018-02-18"), ("America/Sao_Paulo", "2018-11-04"), ("Asia/Beirut", "2026-03-29"),
        ("Asia/Pyongyang", "2018-05-05"), ("Africa/Casablanca", "2026-02-15"), ("America/Scoresbysund", "2024-03-31"),
        ("Pacific/Chatham", "2026-04-04"), ("Pacific/Chatham", "2026-09-26"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("grain", [Grain.HOUR, Grain.DAY])
def test_where_clocks_and_dates_jump_the_windows_follow_the_wall_clock(zone: str, around: str, grain: Grain) -> None:
    start, end = ms(around) - 3 * DAY, ms(around) + 3 * DAY
    assert boundaries(grain, zone, start, end).tolist() == walked(grain, zone, start, end)


def lengths(zone: str, first: str, last: str) -> list[float]:
    """Hours of each day of a range."""
    edges = Range(ms(first), ms(last), Grain.DAY, zone).edges.tolist()
    return [(b - a) / HOUR for a, b in itertools.pairwise(edges)]


def test_a_day_has_23_hours_in_spring_and_25_in_autumn() -> None:
    assert lengths("America/New_York", "2026-03-07T05:00", "2026-03-10T04:00") == [24, 23, 24]
    assert lengths("America/New_York", "2026-10-31T04:00", "2026-11-03T05:00") == [24, 25, 24]
    assert lengths("Australia/Lord_Howe", "2026-10-02T13:30", "2026-10-05T13:00") == [24, 23.5, 24]


def test_a_date_that_a_zone_skipped_has_no_window() -> None:
    # Samoa went from 29 to 31 December 2011.
    edges = Range(ms("2011-12-29T10:00"), ms("2011-12-31T10:00"), Grain.DAY, "Pacific/Apia").edges
    dates = [from_ms(edge).astimezone(rules("Pacific/Apia")).strftime("%d") for edge in edges.tolist()]
    assert dates == ["29", "31", "01"]


def test_an_hour_that_the_clocks_repeat_is_two_windows() -> None:
    # New York, 1 November 2026: 01:00 EDT is 05:00 UTC, 01:00 EST is 06:00 UTC.
    edges = boundaries(Grain.HOUR, "America/New_York", ms("2026-11-01T04:00"), ms("2026-11-01T07:00"))
    assert edges.tolist() == [ms(f"2026-11-01T0{hour}:00") for hour in (4, 5, 6, 7)]


def test_an_hour_in_the_middle_of_which_the_clocks_change_by_an_hour_is_one_window() -> None:
    # Chatham, 4 April 2026: at 14:00 UTC a quarter to four becomes a quarter to three.
    edges = boundaries(Grain.HOUR, "Pacific/Chatham", ms("2026-04-04T12:15"), ms("2026-04-04T16:15"))
    assert edges.tolist() == [ms(f"2026-04-04T{hour}:15") for hour in (12, 13, 14, 15, 16)]


def test_a_leap_day_is_a_day_and_its_month_has_29() -> None:
    february = Range(ms("2024-02-01"), ms("2024-03-01"), Grain.DAY, "UTC")
    assert february.windows == 29
    assert Range(ms("2023-02-01"), ms("2023-03-01"), Grain.DAY, "UTC").windows == 28
    months = Range(ms("2024-01-31T15:00"), ms("2024-03-31T15:00"), Grain.MONTH, "Asia/Seoul")
    assert (months.windows, months.partial) == (2, [False, False])


def test_a_window_of_a_zone_of_odd_offset_is_flagged_as_split() -> None:
    # Nepal is 5:45 ahead: its midnight is 18:15 UTC, inside the report of 18:10.
    nepal = Range(ms("2026-05-01T18:15"), ms("2026-05-03T18:15"), Grain.DAY, "Asia/Kathmandu")
    assert (nepal.windows, nepal.split, nepal.partial) == (2, [True, True], [False, False])
    india = Range(ms("2026-05-01T18:30"), ms("2026-05-03T18:30"), Grain.DAY, "Asia/Kolkata")
    assert india.split == [False, False]


def test_weeks_and_months_that_the_range_cuts_are_flagged_as_partial() -> None:
    # 1 May 2026 is a Friday.
    weeks = Range(ms("2026-05-01"), ms("2026-05-13"), Grain.WEEK, "UTC")
    assert [f"{from_ms(edge):%m-%d}" for edge in weeks.edges.tolist()] == ["05-01", "05-04", "05-11", "05-13"]
    assert weeks.partial == [True, False, True]
    months = Range(ms("2026-05-01"), ms("2026-06-13"), Grain.MONTH, "UTC")
    assert months.partial == [False, True]


NOW = ms("2026-03-31T15:30")  # 1 April, 00:30 in Seoul; 31 March, 11:30 in New York


@pytest.mark.parametrize(
    ("preset", "zone", "start", "end"),
    [
        (Preset.TODAY, "UTC", "2026-03-31", "2026-04-01"),
        (Preset.TODAY, "Asia/Seoul", "2026-04-01T00:00+09:00", "2026-04-02T00:00+09:00"),
        (Preset.YESTERDAY, "Asia/Seoul", "2026-03-31T00:00+09:00", "2026-04-01T00:00+09:00"),
        (Preset.LAST_7_DAYS, "UTC", "2026-03-25", "2026-04-01"),
        (Preset.LAST_28_DAYS, "America/New_York", "2026-03-04T00:00-05:00", "2026-04-01T00:00-04:00"),
        (Preset.LAST_90_DAYS, "UTC", "2026-01-01", "2026-04-01"),
        (Preset.MONTH_TO_DATE, "UTC", "2026-03-01", "2026-04-01"),
        (Preset.MONTH_TO_DATE, "Asia/Seoul", "2026-04-01T00:00+09:00", "2026-04-02T00:00+09:00"),
        (Preset.YEAR_TO_DATE, "America/New_York", "2026-01-01T00:00-05:00", "2026-04-01T00:00-04:00"),
    ],
)
def test_a_preset_is_whole_days_of_the_zone(preset: Preset, zone: str, start: str, end: str) -> None:
    assert preset_range(preset, zone, NOW) == (ms(start), ms(end))


def test_at_the_first_instant_of_a_year_the_presets_hold_that_day() -> None:
    now = ms("2026-01-01")
    assert preset_range(Preset.YEAR_TO_DATE, "UTC", now) == preset_range(Preset.TODAY, "UTC", now) == (now, now + DAY)
    assert preset_range(Preset.YESTERDAY, "UTC", now) == (now - DAY, now)


def test_a_preset_on_a_leap_day_holds_it() -> None:
    now = ms("2024-02-29T12:00")
    assert preset_range(Preset.TODAY, "UTC", now) == (ms("2024-02-29"), ms("2024-03-01"))
    assert preset_range(Preset.LAST_7_DAYS, "UTC", now) == (ms("2024-02-23"), ms("2024-03-01"))
