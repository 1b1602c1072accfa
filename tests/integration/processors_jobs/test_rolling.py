"""Hours and days are there once they have closed, again after a late fact (I8), and anew in another time zone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from millrace_contracts import sketches
from millrace_contracts.reports import BREAKDOWNS, CONTENT, SKETCHES
from millrace_contracts.values.zones import digest
from millrace_contracts.windows import Grain, Inner
from millrace_graphql.ranges.calendar import days
from millrace_processors import rolling, rollups
from millrace_processors.rolling import Rolled
from millrace_processors.rollup_state import RollupProgress
from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.history import events
from tests.integration.processors_jobs.pipeline import Pipeline, Reports

pytestmark = pytest.mark.stack
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
QUARTERS = ("Asia/Kathmandu", "Pacific/Chatham")
"""Zones whose days begin at a quarter past an hour of UTC."""
ZONES = {"m0": "Asia/Kathmandu", "m1": "America/New_York", "m2": None}


def rolled(pipeline: Pipeline) -> Rolled:
    return rolling.run(pipeline.config, pipeline.lake, pipeline.session)


def day_of(zone: str | None, ms: int) -> tuple[int, int]:
    """The [start, end) of the day that the API sees an instant in."""
    starts, _ = days(zone or "UTC", ms - 3 * DAY, ms + 3 * DAY)
    place = max(at for at, start in enumerate(starts.tolist()) if start <= ms)
    return int(starts[place]), int(starts[place + 1])


def expected(reports: Reports, parts: Reports, grain: Grain, through: int, zones: dict[str, str | None]) -> Reports:
    """Closed hours or days, merged by hand from the 10-minute reports that are stored; days that begin inside one from its parts."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
    if grain is Grain.DAY:
        ours = {key: row for key, row in parts.items() if zones.get(key[0]) in QUARTERS}
        windows = {(merchant, start - start % (10 * MINUTE), currency) for merchant, start, currency in ours}
        reports = {key: row for key, row in reports.items() if key not in windows} | ours
    for (merchant, start, currency), row in reports.items():
        low, high = (start - start % HOUR, start - start % HOUR + HOUR) if grain is Grain.HOUR else day_of(zones.get(merchant), start)
        if -(-high // (10 * MINUTE)) * 10 * MINUTE <= through:
            groups[merchant, low, currency].append(dict(zip(CONTENT, row, strict=True)))
    return {key: tuple(merged(name, rows) for name in CONTENT) for key, rows in groups.items()}


def merged(name: str, rows: list[dict[str, Any]]) -> Any:
    values = [row[name] for row in rows]
    if name in BREAKDOWNS:
        sums: dict[str, tuple[int, int]] = {}
        for value in values:
            for slot, (count, total) in value:
                known = sums.get(slot, (0, 0))
                sums[slot] = (known[0] + count, known[1] + total)
        return tuple(sorted(sums.items()))
    if name in SKETCHES:
        return rollups.merged_customers(values) if name == "customers" else sketches.merge(values)
    if name == "smallest":
        return min((row[name] for row in rows if row["payments"]), default=0)
    return max(values) if name == "largest" else sum(values)


def check(pipeline: Pipeline, through: int, zones: dict[str, str | None]) -> None:
    reports = pipeline.reports()
    for grain in (Grain.HOUR, Grain.DAY):
        assert pipeline.reports(grain) == expected(reports, pipeline.reports(Inner.PART), grain, through, zones), grain


def test_hours_and_days_close_reopen_and_follow_a_merchants_zone(pipeline: Pipeline) -> None:  # I6 I7 I8
    assert rolled(pipeline) == Rolled(), "nothing is complete yet"
    for merchant in ("m0", "m1"):
        pipeline.merchant(merchant, ZONES[merchant])
    through = T0 + 95 * MINUTE
    pipeline.produce(events(4, 50), through)
    pipeline.live()
    first = rolled(pipeline)
    assert first.everything
    assert first.hours > 0
    check(pipeline, through, ZONES)

    # A day later everything has closed; and a late payment, of a currency that was not there, opens its hour and day again.
    through = T0 + 2 * DAY
    late = payment("late", merchantId="m1", currency="KRW", paidAt=T0 + 5 * MINUTE)
    pipeline.produce([change("c", late, at=900)], through)
    pipeline.live()
    before = pipeline.versions(Grain.HOUR)
    second = rolled(pipeline)
    assert not second.everything
    check(pipeline, through, ZONES)
    after = pipeline.versions(Grain.HOUR)
    assert ("m1", T0 - T0 % HOUR, "KRW") in after
    assert all(after[key] >= version for key, version in before.items())
    state = RollupProgress(pipeline.session, pipeline.config.names.keyspace).load()
    assert state is not None
    assert state.through_ms == through

    assert rolled(pipeline).hours == 0, "nothing has changed"
    check(pipeline, through, ZONES)

    moved = {**ZONES, "m0": "Pacific/Auckland", "m2": "Asia/Tokyo"}
    pipeline.merchant("m0", moved["m0"], version=2)
    pipeline.merchant("m2", moved["m2"])
    third = rolled(pipeline)
    assert third.rezoned == 2
    check(pipeline, through, moved)

    # Another release of the rules: the last rollup of m0's days was by rules that Auckland has no more.
    progress = RollupProgress(pipeline.session, pipeline.config.names.keyspace)
    state, days = progress.load(), pipeline.versions(Grain.DAY)
    assert state is not None
    assert state.rules == {zone: digest(zone) for zone in moved.values() if zone}
    progress.save(replace(state, rules={**state.rules, "Pacific/Auckland": "other"}), max(days.values()))
    assert rolled(pipeline).rezoned == 1
    again = pipeline.versions(Grain.DAY)
    assert {merchant for merchant, start, currency in days if again[merchant, start, currency] > days[merchant, start, currency]} == {"m0"}
    check(pipeline, through, moved)
    assert rolled(pipeline).rezoned == 0


def test_days_of_23_and_25_hours_and_of_odd_offsets_hold_what_falls_into_them(pipeline: Pipeline) -> None:  # I6
    zones: dict[str, str | None] = {"york": "America/New_York", "nepal": "Asia/Kathmandu", "chatham": "Pacific/Chatham"}
    zones["howe"] = "Australia/Lord_Howe"  # whose clocks change by half an hour
    for merchant, zone in zones.items():
        pipeline.merchant(merchant, zone)
    # Around both changes of the clocks of 2026, there and here, every 50 minutes: not all days are of 24 hours.
    images = []
    for merchant in zones:
        for changed in (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 4, 5, tzinfo=UTC), datetime(2025, 11, 2, tzinfo=UTC)):
            first = int((changed - timedelta(days=1)).timestamp() * 1000)
            for place in range(100):
                at = first + place * 50 * MINUTE
                images.append(payment(f"{merchant}-{at}", merchantId=merchant, amount=1 + len(images) % 97, paidAt=at))
    through = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1000)
    pipeline.produce([change("c", image, at=n + 1) for n, image in enumerate(images)], through)
    pipeline.live()
    rolled(pipeline)
    check(pipeline, through, zones)

    # By hand, on the wall clock: what the days of New York that are short and long hold.
    days = pipeline.reports(Grain.DAY)
    york = ZoneInfo("America/New_York")
    for day, hours in ((datetime(2026, 3, 8, tzinfo=york), 23), (datetime(2025, 11, 2, tzinfo=york), 25)):
        low, high = (int(each.timestamp() * 1000) for each in (day, day + timedelta(days=1)))
        assert high - low == hours * HOUR
        mine = [image["amount"] for image in images if image["merchantId"] == "york" and low <= image["paidAt"] < high]
        row = dict(zip(CONTENT, days["york", low, "USD"], strict=True))
        assert (row["payments"], row["gross"]) == (len(mine), sum(mine))
    lengths = {(end - start) // HOUR for start, end in (day_of("America/New_York", start) for name, start, _ in days if name == "york")}
    assert lengths == {23, 24, 25}


def test_a_rebuilt_lake_is_rolled_up_whole_and_wins(pipeline: Pipeline) -> None:  # I7
    made = [change("c", payment("p1", amount=500), at=1), change("c", payment("p2", paidAt=T0 + 40 * MINUTE), at=2)]
    pipeline.produce(made, T0 + 2 * DAY)
    pipeline.live()
    rolled(pipeline)
    old = pipeline.versions(Grain.DAY)
    pipeline.new_lake(f"{pipeline.config.names.lake_namespace}_again")
    batch = pipeline.batch()
    batch.run(pipeline.records(), "again", 0)
    again = rolled(pipeline)
    assert again.everything
    new = pipeline.versions(Grain.DAY)
    assert list(new) == list(old)
    assert all(new[key] > old[key] for key in old)
    check(pipeline, T0 + 2 * DAY, {})
