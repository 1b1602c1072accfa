"""A report is the same bytes whether it was built live or again, from the lake or from Kafka (I6), and never goes back (I7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace_processors import reprocessing
from millrace_processors.refresh import Mode
from millrace_processors.reprocessing import Reprocessed, Scope
from millrace_runtime.stopping import StopSignal
from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.history import disturbed, events
from tests.integration.processors_jobs.pipeline import Pipeline

pytestmark = pytest.mark.stack
START = datetime.fromtimestamp(T0 / 1000, UTC)


def quiet(so_far: Reprocessed) -> None:
    """Nobody watches."""


def test_live_reports_under_duplicates_and_disorder_are_those_of_the_lake_and_of_kafka(pipeline: Pipeline) -> None:  # I5 I6 I7 I8
    history = events(5, 60)
    half = len(history) // 2
    pipeline.produce(disturbed(1, history[:half]))
    pipeline.live()
    pipeline.produce(disturbed(2, history), through_ms=T0)  # replays the first half, late windows open again
    pipeline.live()
    live, versions = pipeline.reports(), pipeline.versions()
    assert len(live) > 30

    again = reprocessing.from_lake(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE_AND_WRITE)
    assert (again.refreshed.equal, again.refreshed.changed, again.refreshed.added) == (len(live), 0, 0)
    assert pipeline.reports() == live

    disturbances = len(disturbed(1, history[:half])) + len(disturbed(2, history))
    pipeline.new_lake(f"{pipeline.config.names.lake_namespace}_rebuilt")
    rebuilt = reprocessing.from_kafka(pipeline.in_batches(150), pipeline.lake, {}, Mode.WRITE, StopSignal(), quiet)
    assert rebuilt.events == disturbances
    assert pipeline.reports() == live
    newer = pipeline.versions()
    assert all(newer[key] > versions[key] for key in versions), "a lake that was made later wins"


def test_what_the_store_has_lost_or_holds_wrong_is_named_and_mended(pipeline: Pipeline) -> None:
    pipeline.produce([change("c", payment(f"p{n}", amount=100 + n, paidAt=T0 + n * 10 * MINUTE), at=n + 1) for n in range(4)], T0)
    pipeline.live()
    good, keyspace = pipeline.reports(), pipeline.config.names.keyspace
    place = f"merchant_id = 'm' AND grain = '10m' AND bucket = '{START:%Y-%m}' AND window_start = {T0} AND currency = 'USD'"
    pipeline.session.execute(f"UPDATE {keyspace}.reports SET gross = 99999 WHERE {place}")
    lost = f"window_start = {T0 + 10 * MINUTE}"
    pipeline.session.execute(f"DELETE FROM {keyspace}.reports WHERE {place.replace(f'window_start = {T0}', lost)}")
    looked = reprocessing.from_lake(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE).refreshed
    assert (looked.equal, looked.changed, looked.added) == (2, 1, 1)
    assert f"m {START:%Y-%m-%dT%H:%MZ} USD: gross 99999 -> 100" in looked.examples
    assert any("not in the store; computed 1 payments, gross 101" in line for line in looked.examples)
    assert pipeline.reports() != good, "a comparison writes nothing"


def test_only_the_asked_merchants_and_windows_are_computed(pipeline: Pipeline) -> None:
    made = [
        change("c", payment(f"p{n}", merchantId=merchant, paidAt=T0 + n * 10 * MINUTE), at=n + 1)
        for n, merchant in enumerate(["a", "b", "a", "b", "a"])
    ]
    pipeline.produce(made, T0)
    pipeline.live()
    scope = Scope(START + timedelta(minutes=10), START + timedelta(minutes=40), ("a",))
    found = reprocessing.from_lake(pipeline.config, pipeline.lake, scope, Mode.COMPARE).refreshed
    assert (found.reports, found.facts, found.equal) == (1, 1, 1)


def test_a_stopped_reprocess_from_kafka_goes_on_where_it_was(pipeline: Pipeline) -> None:
    made = [change("c", payment(f"p{n}", paidAt=T0 + (n % 9) * 10 * MINUTE), at=n + 1) for n in range(100)]
    pipeline.produce(made, T0)
    config, stop = pipeline.in_batches(60), StopSignal()
    seen: list[int] = []

    def tell(so_far: Reprocessed) -> None:
        seen.append(so_far.events)
        stop.set()

    first = reprocessing.from_kafka(config, pipeline.lake, {}, Mode.WRITE, stop, tell)
    assert not first.finished
    assert 0 < first.events < 100
    rest = reprocessing.from_kafka(config, pipeline.lake, {}, Mode.WRITE, StopSignal(), quiet)
    assert rest.finished
    assert first.events + rest.events == 100
    assert sum(row[0] for row in pipeline.reports().values()) == 100  # payments, counted once each
    preview = reprocessing.preview_kafka(pipeline.config, pipeline.spark, {})
    assert preview == {"events": 100, "dead_letters": 0, "facts": 100, "reports": 9, "merchants": 1}
