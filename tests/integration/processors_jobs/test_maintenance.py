"""Maintenance changes no result, and what a batch that runs again and the next rollup have to know stays known."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from millrace_processors import maintenance, reprocessing, rolling
from millrace_processors.joining import FileJoiner
from millrace_processors.maintenance import Plan
from millrace_processors.refresh import Mode
from millrace_processors.rollup_state import RollupProgress
from millrace_processors.scope import Scope
from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.pipeline import Pipeline

pytestmark = pytest.mark.stack


def test_files_are_joined_and_snapshots_expired_and_nothing_else_changes(pipeline: Pipeline) -> None:  # I5 I6 I7
    batch = pipeline.batch()
    for number in range(4):
        made = [
            change("c", payment(f"p{number}-{n}", merchantId=f"m{n}", paidAt=T0 + number * MINUTE), at=number * 10 + n) for n in range(3)
        ]
        pipeline.produce(made, T0 + 2 * 24 * 60 * MINUTE)
        batch.run(pipeline.records(), "q" if number else "older", number)
        if number == 1:
            rolling.run(pipeline.config, pipeline.lake, pipeline.session)
    reports, rows = pipeline.reports(), pipeline.lake.session.table(pipeline.lake.facts).count()
    last = pipeline.lake.of_batch("q", 3)
    newest = pipeline.lake.current()
    assert last is not None
    assert newest is not None
    appended = pipeline.lake.appended(last).count()
    state = RollupProgress(pipeline.session, pipeline.config.names.keyspace).load()
    assert state is not None
    orphan = Path(pipeline.config.lake.warehouse) / pipeline.config.names.lake_namespace / "facts" / "data" / "orphan.parquet"
    orphan.write_bytes(b"left by a task that died")
    old = time.time() - 10 * 86_400
    os.utime(orphan, (old, old))

    told: list[str] = []
    facts, *_ = maintenance.run(pipeline.lake, Plan(keep=timedelta(0), small_files=2), [state], told.append)
    assert facts.joined_files > facts.new_files > 0
    assert facts.expired_snapshots >= 1  # what lies before the last rollup, but for the older query's newest
    assert pipeline.lake.of_batch("q", 1) is None
    assert facts.orphans == 1
    assert not orphan.exists()
    assert told

    again = pipeline.lake.of_batch("q", 3)
    assert again == last
    assert pipeline.lake.of_batch("older", 0) is not None
    assert pipeline.lake.appended(again).count() == appended
    assert pipeline.lake.session.table(pipeline.lake.facts).count() == rows
    after = pipeline.lake.current()
    assert after is not None
    assert after.version > newest.version
    done = reprocessing.from_lake(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE).refreshed
    assert (done.equal, done.changed, done.added) == (len(reports), 0, 0)
    assert not rolling.run(pipeline.config, pipeline.lake, pipeline.session).everything, "the rollup knows what came since"

    batch.run(pipeline.records(), "q", 3)  # a driver that died behind its append
    assert pipeline.lake.session.table(pipeline.lake.facts).count() == rows
    assert pipeline.reports() == reports


def test_facts_beyond_their_retention_are_dropped_by_whole_months(pipeline: Pipeline) -> None:
    now = int(time.time() * 1000)
    long_ago, recent = now - 2_000 * 86_400_000, now - 86_400_000
    pipeline.produce([change("c", payment("old", paidAt=long_ago), at=1), change("c", payment("new", paidAt=recent), at=2)])
    pipeline.batch().run(pipeline.records(), "q", 0)
    facts, *_ = maintenance.run(pipeline.lake, Plan(), [], lambda line: None)
    assert facts.dropped_facts == 1
    assert [row.fact_id for row in pipeline.lake.session.table(pipeline.lake.facts).collect()] == ["new"]
    assert pipeline.lake.of_batch("q", 0) is not None


def test_the_stream_joins_its_own_small_files_and_the_next_batch_goes_on(pipeline: Pipeline) -> None:  # I5
    joiner = FileJoiner(pipeline.lake, 3, small_files=2)
    batch = pipeline.batch()

    def files() -> int:
        return pipeline.lake.session.table(f"{pipeline.lake.facts}.files").count()

    counts = []
    for number in range(4):
        made = [change("c", payment(f"p{number}-{n}", merchantId="m", amount=100, paidAt=T0), at=number * 10 + n) for n in range(3)]
        pipeline.produce(made, T0)
        outcome = batch.run(pipeline.records(), "q", number)
        if number == 2:
            before = files()
            joiner.after_batch(outcome.events > 0)
            assert before > files()
        else:
            joiner.after_batch(outcome.events > 0)
        counts.append([row.payments for row in pipeline.session.execute(f"SELECT payments FROM {pipeline.config.names.keyspace}.reports")])
    assert counts == [[3], [6], [9], [12]]
