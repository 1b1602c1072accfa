"""A report is the same bytes whether it was built live or again: from the lake, from Kafka, from MongoDB (I6), and never goes back (I7)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace_contracts.reports import CONTENT
from millrace_processors import reprocessing
from millrace_processors.kafka_part import Part
from millrace_processors.refresh import Mode
from millrace_processors.reprocessing import Reprocessed
from millrace_processors.scope import Scope
from millrace_runtime.stopping import StopSignal
from tests.integration.processors.events import T0, change
from tests.integration.processors_jobs.history import disturbed, events
from tests.integration.processors_jobs.pipeline import Pipeline, Reports
from tests.integration.processors_jobs.source import Source

pytestmark = pytest.mark.stack
REVISION = CONTENT.index("revision")


def quiet(so_far: Reprocessed) -> None:
    """Nobody watches."""


def without_revision(reports: Reports) -> dict[tuple[str, int, str], tuple[Any, ...]]:
    """The reports that say something, without how many versions of their facts there were: MongoDB knows only the newest."""
    plain = {key: row[:REVISION] + row[REVISION + 1 :] for key, row in reports.items()}
    return {key: row for key, row in plain.items() if any(row[: CONTENT.index("points_used")])}


def test_live_reports_under_disorder_and_a_restart_are_those_of_the_lake_of_kafka_and_of_mongodb(  # I5 I6 I7 I8
    pipeline: Pipeline, source: Source
) -> None:
    history = events(5, 60)
    half = len(history) // 2
    first, second = disturbed(1, history[:half]), disturbed(2, history)
    pipeline.produce(first)
    pipeline.live()
    pipeline.produce(second, through_ms=T0)  # replays the first half, late windows open again
    pipeline.live()  # another driver, from the first one's checkpoint
    source.hold(history)
    live, versions, name = pipeline.reports(), pipeline.versions(), pipeline.config.names.lake_namespace
    assert len(live) > 30

    again = reprocessing.from_lake(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE_AND_WRITE)
    assert (again.refreshed.equal, again.refreshed.changed, again.refreshed.added) == (len(live), 0, 0)
    assert pipeline.reports() == live

    rows = pipeline.spark.table(pipeline.lake.facts).count()
    of_mongo = reprocessing.from_mongo(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE_AND_WRITE)
    assert (of_mongo.events, of_mongo.dead_letters) == (source.payments.count_documents({}), 0)
    assert (of_mongo.corrected, of_mongo.retracted, of_mongo.refreshed.equal) == (0, 0, len(live)), "the lake has all of it"
    assert pipeline.spark.table(pipeline.lake.facts).count() == rows
    assert pipeline.reports() == live

    pipeline.new_lake(f"{name}_kafka")
    rebuilt = reprocessing.from_kafka(pipeline.in_batches(150), pipeline.lake, Part(), Mode.WRITE, StopSignal(), quiet)
    assert rebuilt.events == len(first) + len(second)
    assert pipeline.reports() == live
    newer = pipeline.versions()
    assert all(newer[key] > versions[key] for key in versions), "a lake that was made later wins"

    pipeline.new_lake(f"{name}_mongo")
    pipeline.session.execute(f"TRUNCATE {pipeline.config.names.keyspace}.reports", timeout=120)
    preview = reprocessing.from_mongo(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE)
    assert preview.refreshed.added == preview.refreshed.reports > 30
    assert pipeline.reports() == {}
    anew = reprocessing.from_mongo(pipeline.config, pipeline.lake, Scope(), Mode.WRITE)
    assert anew.corrected == anew.refreshed.facts > 0
    assert without_revision(pipeline.reports()) == without_revision(live)
    # What the topic still has comes behind it, older than what MongoDB said: nothing changes but how many versions are known.
    reprocessing.from_kafka(pipeline.config, pipeline.lake, Part(), Mode.WRITE, StopSignal(), quiet)
    assert without_revision(pipeline.reports()) == without_revision(live)


def test_a_change_that_came_while_mongodb_was_read_wins(pipeline: Pipeline, source: Source) -> None:  # I5
    history = events(9, 20)
    source.hold(history)
    reprocessing.from_mongo(pipeline.config, pipeline.lake, Scope(), Mode.WRITE)
    before = pipeline.reports()
    images = (json.loads(value)["after"] for _, value in reversed(history))
    paid = next(image for image in images if image and source.payments.count_documents({"_id": image["_id"], "status": "succeeded"}))
    seconds = source.now_ms() // 1000 + 3_600  # behind whatever is read here, however long that takes
    key, value = change("d", None, paid, at=1)
    pipeline.produce([(key, value.replace(str(1_764_000_000_000), str(seconds * 1000)))])
    pipeline.live()
    live = pipeline.reports()
    assert sum(row[0] for row in live.values()) == sum(row[0] for row in before.values()) - 1
    late = reprocessing.from_mongo(pipeline.config, pipeline.lake, Scope(), Mode.WRITE)  # as old as if it had begun before
    assert late.corrected == 0
    assert pipeline.reports() == live
