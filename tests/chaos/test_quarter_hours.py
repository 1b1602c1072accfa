"""Closed, late and rebuilt hours and days of zones with a quarter-hour offset, against MongoDB's own $dateTrunc."""

from __future__ import annotations

import pytest

from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import Inner
from millrace_graphql.ranges.calendar import Grain
from millrace_processors import auditing, customers, reprocessing
from millrace_processors.kafka_part import Part
from millrace_processors.refresh import Mode
from millrace_processors.scope import Scope
from millrace_runtime.stopping import StopSignal
from tests.integration.processors_jobs.conftest import pipeline, source  # noqa: F401
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.integration.processors_jobs.source import Source
from tests.integration.processors_jobs.test_quarter_hours import THROUGH, ZONES, Ask, Case, ask, midnight, truth  # noqa: F401

pytestmark = pytest.mark.stack


def customers_of(rolled: Pipeline, merchant: str) -> dict[int, int]:
    """Customers by closed day, as they are counted exactly."""
    read = f"SELECT to_unix_timestamp(window_start), customers FROM {rolled.config.names.keyspace}.customer_days WHERE merchant_id = %s"
    return {start: count for start, count in rolled.session.execute(read, (merchant,)) if count}


def rebuild(lost: Pipeline) -> None:
    """Another lake and empty reports, filled from the topic; the merchants are there first."""
    lost.new_lake(f"{lost.config.names.lake_namespace}_again")
    for name, zone in ZONES.items():
        lost.merchant(name, zone)
    lost.session.execute(f"TRUNCATE {lost.config.names.keyspace}.reports", timeout=120)
    reprocessing.from_kafka(lost.config, lost.lake, Part(), Mode.WRITE, StopSignal(), lambda so_far: None)


def test_closed_days_and_late_changes_are_what_mongodb_truncates_to(pipeline: Pipeline, source: Source, ask: Ask) -> None:  # noqa: F811  # I5 I7 I8
    case = Case(pipeline, source, ask)
    case.live(THROUGH)
    case.rolled()
    case.check(THROUGH)
    customers.run(pipeline.config, pipeline.lake, pipeline.session)
    for merchant in ZONES:
        expected = {start: figures[5] for start, figures in truth(source, merchant, Grain.DAY).items()}
        assert customers_of(pipeline, merchant) == {start: n for start, n in expected.items() if n and start + 86_400_000 <= THROUGH}
    for merchant, zone in ZONES.items():
        case.history.move(merchant, midnight(zone, 11, 25))
    case.live(THROUGH)
    case.check(None)
    case.rolled()
    case.check(THROUGH)
    assert auditing.run(pipeline.config, pipeline.lake, Scope(), settle_seconds=0).differing == []


def test_another_zone_and_back_and_another_lake_change_no_byte(pipeline: Pipeline, source: Source, ask: Ask) -> None:  # noqa: F811  # I6
    case = Case(pipeline, source, ask)
    case.live(THROUGH)
    case.rolled()
    parts, days = pipeline.reports(Inner.PART), pipeline.reports(Stored.DAY)
    for zone in ("Asia/Tokyo", "Asia/Kathmandu"):
        case.stands("nepal", zone)
        assert case.rolled().rezoned == 1
    assert pipeline.reports(Stored.DAY) == days
    case.check(THROUGH)
    rebuild(pipeline)
    assert pipeline.reports(Inner.PART) == parts
    case.check(None)
    case.rolled()
    assert pipeline.reports(Stored.DAY) == days
