"""Fair comparison: the right earlier windows, the same clock time, and no further than the analysis has come."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.metrics import BY_NAME
from millrace_contracts.windows import from_ms, to_ms
from millrace_graphql.ranges.answers import Asked, Freshness, Series
from millrace_graphql.ranges.calendar import Grain, Preset
from millrace_graphql.ranges.compare import ChangeKind, Comparison, change, plan
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.plan import Range, iso
from millrace_graphql.ranges.shifts import Basis, Shift, shift_for, shifted
from tests.unit.graphql_api.facts import WINDOW, reports

LONG_AFTER = to_ms(datetime(2099, 1, 1, tzinfo=UTC))
NEW_YORK, SEOUL = ZoneInfo("America/New_York"), ZoneInfo("Asia/Seoul")


def at(text: str, zone: ZoneInfo | None = None) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=zone or UTC))


def series(
    facts: dict[tuple[int, str], Any], asked: Range, through: int | None = LONG_AFTER, preset: Preset | None = None, sparse: bool = False
) -> Series:
    read = Freshness(Progress(0, through), asked)
    return Series("m", "USD", asked, sparse, reports(facts), read, question=Asked(preset=preset))


def compared(
    facts: dict[tuple[int, str], Any],
    asked: Range,
    basis: Basis = Basis.PREVIOUS_PERIOD,
    through: int | None = LONG_AFTER,
    preset: Preset | None = None,
) -> Comparison:
    made = series(facts, asked, through, preset)
    return Comparison.of(made, plan(made, asked.zone, basis, preset), reports(facts))


def paid(*pairs: tuple[int, int]) -> dict[tuple[int, str], Any]:
    """A payment of an amount at each instant, in the report that holds it."""
    facts: dict[tuple[int, str], Any] = {}
    for instant, amount in pairs:
        key = (instant - instant % WINDOW, "USD")
        facts.setdefault(key, ([], [], 0))[0].append((amount, 1))
    return facts


@pytest.mark.parametrize(
    ("zone", "start", "end", "basis", "preset", "earlier"),
    [
        ("UTC", "2026-05-08", "2026-05-15", Basis.PREVIOUS_PERIOD, None, ("2026-05-01", "2026-05-08")),
        ("UTC", "2026-05-08", "2026-05-09", Basis.PREVIOUS_PERIOD, Preset.TODAY, ("2026-05-07", "2026-05-08")),
        ("UTC", "2026-05-08", "2026-05-09", Basis.SAME_WEEKDAYS, Preset.TODAY, ("2026-05-01", "2026-05-02")),
        ("UTC", "2026-05-08", "2026-05-15", Basis.SAME_WEEKDAYS, None, ("2026-05-01", "2026-05-08")),
        ("UTC", "2026-05-01", "2026-05-29", Basis.SAME_WEEKDAYS, None, ("2026-04-03", "2026-05-01")),
        ("UTC", "2026-05-01", "2026-05-11", Basis.SAME_WEEKDAYS, None, ("2026-04-17", "2026-04-27")),
        ("UTC", "2026-05-08", "2026-05-15", Basis.LAST_YEAR, None, ("2025-05-08", "2025-05-15")),
        ("UTC", "2026-05-01", "2026-06-01", Basis.PREVIOUS_PERIOD, None, ("2026-04-01", "2026-05-01")),
        ("UTC", "2026-01-01", "2026-04-01", Basis.PREVIOUS_PERIOD, None, ("2025-10-01", "2026-01-01")),
        ("UTC", "2026-03-01", "2026-03-19", Basis.PREVIOUS_PERIOD, Preset.MONTH_TO_DATE, ("2026-02-01", "2026-02-19")),
        ("UTC", "2026-03-01", "2026-03-31", Basis.PREVIOUS_PERIOD, Preset.MONTH_TO_DATE, ("2026-02-01", "2026-03-01")),
        ("UTC", "2026-01-01", "2026-03-19", Basis.PREVIOUS_PERIOD, Preset.YEAR_TO_DATE, ("2025-01-01", "2025-03-19")),
        ("UTC", "2024-02-29", "2024-03-01", Basis.LAST_YEAR, None, ("2023-03-01", "2023-03-01")),
        ("UTC", "2024-02-01", "2024-03-01", Basis.LAST_YEAR, None, ("2023-02-01", "2023-03-01")),
        ("UTC", "2026-05-08T06:00", "2026-05-08T12:00", Basis.PREVIOUS_PERIOD, None, ("2026-05-08T00:00", "2026-05-08T06:00")),
        ("America/New_York", "2026-03-08", "2026-03-09", Basis.PREVIOUS_PERIOD, None, ("2026-03-07", "2026-03-08")),
        ("America/New_York", "2026-03-09", "2026-03-10", Basis.PREVIOUS_PERIOD, None, ("2026-03-08", "2026-03-09")),
        ("America/New_York", "2026-11-01", "2026-11-08", Basis.PREVIOUS_PERIOD, None, ("2026-10-25", "2026-11-01")),
        ("Asia/Seoul", "2026-05-08", "2026-05-09", Basis.LAST_YEAR, None, ("2025-05-08", "2025-05-09")),
    ],
)
def test_the_earlier_period_is_whole_days_of_the_same_calendar(
    zone: str, start: str, end: str, basis: Basis, preset: Preset | None, earlier: tuple[str, str]
) -> None:
    place = ZoneInfo(zone)
    asked = Range(at(start, place), at(end, place), Grain.HOUR if "T" in start else Grain.DAY, zone)
    found = plan(series({}, asked), zone, basis, preset)
    assert (iso(found.start_ms), iso(found.end_ms)) == tuple(iso(at(text, place)) for text in earlier)


def test_each_day_stands_against_its_own_and_a_date_that_never_was_against_none() -> None:
    # March 2026 to date, the 31st, against February: the 29th, 30th and 31st have no counterpart.
    asked = Range(at("2026-03-01"), at("2026-04-01"), Grain.DAY)
    facts = paid((at("2026-02-28T10:00"), 5), (at("2026-03-28T10:00"), 8), (at("2026-03-31T10:00"), 3), (at("2026-02-01T10:00"), 2))
    comparison = compared(facts, asked, preset=Preset.MONTH_TO_DATE)
    gross = BY_NAME["gross"]
    assert comparison.points.previous(gross) == [2, *[0] * 26, 5, None, None, None]
    assert comparison.points.values(gross) == [*[0] * 27, 8, 0, 0, 3]
    assert comparison.points.changes(gross)[27:] == [(0.6, ChangeKind.UP), *[(None, None)] * 3]
    assert comparison.points.changes(gross)[0] == (-1.0, ChangeKind.GONE)
    assert (comparison.total.values(gross), comparison.total.previous(gross)) == ([11], [7])


def test_a_day_that_is_running_is_compared_up_to_the_same_time_of_yesterday() -> None:
    # The analysis has come to 10:00. Yesterday had 40 before ten and 1000 after; today has 50 and 7 that is not complete yet.
    asked = Range(at("2026-05-08"), at("2026-05-09"), Grain.HOUR)
    facts = paid(
        (at("2026-05-07T09:50"), 40), (at("2026-05-07T10:00"), 1000), (at("2026-05-08T09:00"), 50), (at("2026-05-08T10:10"), 7),
    )  # fmt: skip
    comparison = compared(facts, asked, through=at("2026-05-08T10:07"), preset=Preset.TODAY)
    gross = BY_NAME["gross"]
    assert comparison.plan.through_ms == at("2026-05-08T10:00")
    assert (comparison.total.values(gross), comparison.total.previous(gross)) == ([50], [40])
    assert comparison.total.changes(gross) == [(0.25, ChangeKind.UP)]
    # Hour by hour: what is still to come has no value, and shows what there was yesterday.
    assert comparison.points.values(gross) == [*[0] * 9, 50, *[None] * 14]
    assert comparison.points.previous(gross) == [*[0] * 9, 40, 1000, *[0] * 13]
    assert comparison.points.changes(gross)[9:11] == [(0.25, ChangeKind.UP), (None, None)]


def test_the_hour_that_is_running_stands_against_its_part_of_yesterday() -> None:
    asked = Range(at("2026-05-08"), at("2026-05-09"), Grain.HOUR)
    facts = paid((at("2026-05-07T10:10"), 4), (at("2026-05-07T10:40"), 1000), (at("2026-05-08T10:20"), 6))
    comparison = compared(facts, asked, through=at("2026-05-08T10:30"))
    gross = BY_NAME["gross"]
    assert (comparison.points.values(gross)[10], comparison.points.previous(gross)[10]) == (6, 4)


def test_a_running_day_of_changed_clocks_is_compared_up_to_the_same_time_on_the_wall() -> None:
    # New York, 8 March 2026: at 2 the clocks went to 3. At 10:00 nine hours have passed, yesterday ten.
    asked = Range(at("2026-03-08", NEW_YORK), at("2026-03-09", NEW_YORK), Grain.HOUR, "America/New_York")
    facts = paid((at("2026-03-07T09:50", NEW_YORK), 40), (at("2026-03-07T10:00", NEW_YORK), 9), (at("2026-03-08T09:50", NEW_YORK), 60))
    comparison = compared(facts, asked, through=at("2026-03-08T10:00", NEW_YORK))
    assert comparison.plan.end_ms == at("2026-03-07T10:00", NEW_YORK)
    assert comparison.total.previous(BY_NAME["gross"]) == [40]
    # 3 o'clock stands against 3 o'clock, although it is the third hour of a day and was the fourth.
    hours = [from_ms(ms).astimezone(NEW_YORK).hour for ms in comparison.plan.points.then_starts.tolist()]
    assert hours == [0, 1, *range(3, 24)]


@pytest.mark.parametrize(
    ("zone", "first", "length"),
    [
        ("Africa/Cairo", "2026-04-24", 1),
        ("Asia/Beirut", "2026-03-29", 1),
        ("Africa/Cairo", "2026-04-20", 7),
        ("America/Havana", "2026-03-08", 1),
    ],
)
def test_a_day_that_begins_at_one_stands_against_the_whole_day_before(zone: str, first: str, length: int) -> None:
    # The clocks jump from midnight to one: the day begins at 01:00, and yesterday at 00:00.
    place = ZoneInfo(zone)
    begin = datetime.fromisoformat(first).replace(tzinfo=place)
    asked = Range(to_ms(begin), to_ms(begin + timedelta(days=length)), Grain.DAY, zone)
    for basis, back in ((Basis.PREVIOUS_PERIOD, length), (Basis.SAME_WEEKDAYS, 7)):
        found = plan(series({}, asked), zone, basis, None)
        assert (found.start_ms, found.end_ms) == (to_ms(begin - timedelta(days=back)), to_ms(begin + timedelta(days=length - back)))
    following = Range(asked.end_ms, to_ms(begin + timedelta(days=2 * length)), Grain.DAY, zone)
    found = plan(series({}, following), zone, Basis.PREVIOUS_PERIOD, None)
    assert (found.start_ms, found.end_ms) == (asked.start_ms, asked.end_ms)


def test_the_hour_that_the_clocks_jumped_over_is_nobodys_counterpart() -> None:
    asked = Range(at("2026-03-09", NEW_YORK), at("2026-03-10", NEW_YORK), Grain.HOUR, "America/New_York")
    comparison = compared(paid((at("2026-03-08T03:00", NEW_YORK), 5)), asked)
    previous = comparison.points.previous(BY_NAME["gross"])
    assert previous == [0, 0, None, 5, *[0] * 20]


def test_nothing_is_compared_while_nothing_is_complete() -> None:
    asked = Range(at("2026-05-08"), at("2026-05-09"), Grain.DAY)
    for through in (None, at("2026-05-08"), at("2026-05-01")):
        comparison = compared(paid((at("2026-05-07T09:00"), 5), (at("2026-05-08T09:00"), 5)), asked, through=through)
        assert comparison.plan.through_ms is None
        assert comparison.total.values(BY_NAME["gross"]) == [None]
        assert comparison.total.changes(BY_NAME["gross"]) == [(None, None)]


def test_customers_and_quantiles_of_an_earlier_period_are_merged_and_not_added() -> None:
    asked = Range(at("2026-05-08"), at("2026-05-10"), Grain.DAY)
    facts = {(at("2026-05-06"), "USD"): ([(10, 1), (30, 2)], [], 0), (at("2026-05-07"), "USD"): ([(20, 1)], [], 0)}
    comparison = compared(facts, asked)
    assert comparison.total.previous(BY_NAME["customers"]) == [2]
    assert comparison.total.previous(BY_NAME["medianAmount"]) == [20]
    assert comparison.total.previous(BY_NAME["averagePayment"]) == [20]


@pytest.mark.parametrize(
    ("value", "previous", "expected"),
    [
        (150, 100, (0.5, ChangeKind.UP)), (50, 100, (-0.5, ChangeKind.DOWN)), (100, 100, (0.0, ChangeKind.FLAT)),
        (5, 0, (None, ChangeKind.NEW)), (5, None, (None, ChangeKind.NEW)), (0, 100, (-1.0, ChangeKind.GONE)),
        (None, 100, (-1.0, ChangeKind.GONE)), (0, 0, (None, ChangeKind.FLAT)), (None, None, (None, None)),
        (None, 0, (None, ChangeKind.FLAT)), (-20, 0, (None, ChangeKind.DOWN)), (50, -50, (2.0, ChangeKind.UP)),
        (-100, -50, (-1.0, ChangeKind.DOWN)), (0, -50, (1.0, ChangeKind.GONE)), (0.2, 0.1, (1.0, ChangeKind.UP)),
    ],
)  # fmt: skip
def test_a_change_has_a_fraction_and_a_kind(value: float | None, previous: float | None, expected: tuple[Any, Any]) -> None:
    assert change(value, previous) == expected


@given(
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Asia/Seoul", "Africa/Casablanca"]),
    st.integers(at("2020-01-01") // 900_000, at("2030-01-01") // 900_000),
    st.integers(1, 40),
)
def test_days_back_are_the_same_time_on_the_wall_so_many_dates_before(zone: str, quarter: int, days: int) -> None:
    place = ZoneInfo(zone)
    instant = from_ms(quarter * 900_000).astimezone(place)
    wanted = (instant - timedelta(days=days)).replace(fold=0)  # aware arithmetic in one zone is wall-clock arithmetic
    back = int(shifted(np.array([to_ms(instant)], np.int64), zone, Shift(days=days))[0])
    found = from_ms(back).astimezone(place)
    exists = to_ms(wanted.astimezone(UTC).astimezone(place)) == to_ms(wanted) and wanted.astimezone(UTC).astimezone(place).replace(
        tzinfo=None
    ) == wanted.replace(tzinfo=None)
    if exists:
        assert back == to_ms(wanted)
    else:  # the clocks jumped over it: the instant of the jump
        before = from_ms(back - 1).astimezone(place).replace(tzinfo=None)
        assert before < wanted.replace(tzinfo=None) < found.replace(tzinfo=None)


def test_whole_months_go_back_by_months_and_other_days_by_days() -> None:
    quarter = Range(at("2026-01-01"), at("2026-04-01"), Grain.MONTH)
    assert shift_for(quarter, "UTC", Basis.PREVIOUS_PERIOD, None) == Shift(months=3)
    assert shift_for(Range(at("2026-01-02"), at("2026-04-02"), Grain.DAY), "UTC", Basis.PREVIOUS_PERIOD, None) == Shift(days=90)
