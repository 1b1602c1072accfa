"""Which zones have hours that begin inside a 10-minute report, by an independent reading of their clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.values.zones import names, rules
from millrace_contracts.windows import Inner, bucket, buckets
from millrace_processors import rollup_calendar

WINDOW = timedelta(minutes=10)


def test_three_places_of_today_have_quarter_hours() -> None:
    assert rollup_calendar.cuts() == dict.fromkeys(
        ("Asia/Kathmandu", "Asia/Katmandu", "Australia/Eucla", "NZ-CHAT", "Pacific/Chatham"), frozenset({900_000})
    )


@given(st.sampled_from(sorted(names())), st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)))  # noqa: DTZ001
def test_an_hour_of_the_wall_clock_begins_with_a_report_or_at_a_cut(zone: str, moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    local = moment.astimezone(rules(zone))
    begins = moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    after = timedelta(minutes=begins.minute, seconds=begins.second, microseconds=begins.microsecond)
    cuts = {timedelta(milliseconds=cut) for cut in rollup_calendar.cuts().get(zone, ())}
    assert after in cuts if cuts else after % WINDOW == timedelta(0)


def test_parts_lie_in_the_bucket_of_their_reports() -> None:
    start = datetime(2026, 2, 28, 18, 15, tzinfo=UTC)
    assert bucket(Inner.PART, start) == "2026-02"
    assert buckets(Inner.PART, start, start + timedelta(days=2)) == ["2026-02", "2026-03"]
