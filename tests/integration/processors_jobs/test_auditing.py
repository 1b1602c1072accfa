"""The audit names what the lake lacks of Kafka and what the reports lack of the lake, and puts right just that (I4, I6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from millrace_contracts import packed
from millrace_contracts.reports import PACKED_TABLE
from millrace_processors import auditing, rolling
from millrace_processors.auditing import Audited
from millrace_processors.errors import CommandError
from millrace_processors.scope import Scope
from tests.integration.processors.events import MINUTE, SECOND, T0, change, payment
from tests.integration.processors_jobs.history import disturbed, events
from tests.integration.processors_jobs.pipeline import Pipeline

pytestmark = pytest.mark.stack
START = datetime.fromtimestamp(T0 / 1000, UTC)
THROUGH = (SECOND + 3_600) * 1000
"""Behind the cluster time of every event, and 70 minutes behind T0."""


def audit(pipeline: Pipeline, repair: bool = False, scope: Scope | None = None) -> Audited:
    return auditing.run(pipeline.config, pipeline.lake, scope or Scope(), repair=repair, settle_seconds=0)


def test_a_history_that_is_whole_gets_a_certificate_for_each_closed_window(pipeline: Pipeline) -> None:
    with pytest.raises(CommandError, match="nothing is complete yet"):
        audit(pipeline)
    pipeline.produce(disturbed(3, events(8, 40)), THROUGH)
    pipeline.live()
    windows = {start for _, start, _ in pipeline.reports()}
    found = audit(pipeline)
    assert (found.windows, found.differing) == (len(windows), [])
    closed = {start for start in windows if start + 10 * MINUTE <= THROUGH}
    assert found.certified == len(closed)
    rows = pipeline.spark.table(pipeline.lake.certificates).selectExpr("*", "unix_millis(window_start) AS start").collect()
    assert sorted(row["start"] for row in rows if row["complete"]) == sorted(closed)
    assert all(row["kafka_digest"] == row["lake_digest"] and row["kafka_facts"] == row["lake_facts"] for row in rows)
    narrow = Scope(START, START + timedelta(minutes=20), ("m0",))
    assert 0 < audit(pipeline, scope=narrow).windows <= 2


def test_what_differs_is_named_and_only_that_is_repaired(pipeline: Pipeline) -> None:
    images = [payment(f"p{n}", amount=100 + n, paidAt=T0 + n * 10 * MINUTE) for n in range(5)]
    pipeline.produce([change("c", image, at=n + 1) for n, image in enumerate(images)], THROUGH)
    pipeline.live()
    good, versions = pipeline.reports(), pipeline.versions()
    pipeline.spark.sql(f"DELETE FROM {pipeline.lake.facts} WHERE fact_id = 'p1'")
    pipeline.spark.sql(f"UPDATE {pipeline.lake.facts} SET amount = 1 WHERE fact_id = 'p2'")
    place = f"merchant_id = 'm' AND grain = '10m' AND bucket = '{START:%Y-%m}' AND window_start = {T0 + 30 * MINUTE} AND currency = 'USD'"
    old = versions["m", T0 + 30 * MINUTE, "USD"] + 1
    keyspace = pipeline.config.names.keyspace
    pipeline.session.execute(f"UPDATE {keyspace}.reports USING TIMESTAMP {old} SET payments = 7 WHERE {place}")

    found = audit(pipeline)
    assert (found.windows, found.certified) == (5, 2)
    lost, wrong, stored = found.differing
    assert [each.start for each in found.differing] == [START + timedelta(minutes=10 * n) for n in (1, 2, 3)]
    assert (lost.kafka_facts, lost.lake_facts, lost.kafka_amount, lost.lake_amount) == (1, 0, 101, 0)
    assert (wrong.kafka_facts, wrong.lake_facts) == (1, 0), "its content is another one"
    assert (stored.kafka_facts, stored.lake_facts, stored.reports, stored.differing_reports) == (1, 1, 1, 1)
    assert stored.example is not None
    assert stored.example.endswith("USD: payments 7 -> 1")

    repaired = audit(pipeline, repair=True)
    assert repaired.repaired_facts == 2
    assert repaired.repaired_reports >= 1
    assert pipeline.reports()["m", T0 + 30 * MINUTE, "USD"] == good["m", T0 + 30 * MINUTE, "USD"]
    untouched = [("m", T0, "USD"), ("m", T0 + 40 * MINUTE, "USD")]
    after = pipeline.versions()
    assert [after[key] for key in untouched] == [versions[key] for key in untouched]
    assert pipeline.reports() == good
    assert audit(pipeline).differing == []
    assert pipeline.spark.table(pipeline.lake.facts).count() == 5, "what was wrong is gone"


def test_a_packed_day_that_is_wrong_is_named_and_packed_again(pipeline: Pipeline) -> None:
    images = [payment(f"p{n}", amount=100 + n, paidAt=T0 + n * 10 * MINUTE) for n in range(3)]
    pipeline.produce([change("c", image, at=n + 1) for n, image in enumerate(images)], T0 + 2 * 24 * 60 * MINUTE)
    pipeline.live()
    assert rolling.run(pipeline.config, pipeline.lake, pipeline.session).packed == 1
    assert audit(pipeline).differing == []
    keyspace = pipeline.config.names.keyspace
    read = f"SELECT bucket, day, numbers, version FROM {keyspace}.{PACKED_TABLE} WHERE merchant_id = 'm' ALLOW FILTERING"
    good = pipeline.session.execute(read).one()
    columns = packed.decode_numbers(good.numbers)
    columns[0] = columns[0] + np.array([0, 6, 0])
    # At the version of the newest snapshot, where the greater bytes win: nothing that is written at that version could mend it.
    damage = f"UPDATE {keyspace}.{PACKED_TABLE} USING TIMESTAMP %s SET numbers = %s WHERE merchant_id = 'm' AND bucket = %s AND day = %s"
    pipeline.session.execute(damage, (good.version, packed.encode_numbers(columns), good.bucket, good.day))
    assert pipeline.session.execute(read).one().numbers != good.numbers

    [wrong] = audit(pipeline).differing
    assert (wrong.start, wrong.reports, wrong.differing_reports) == (START + timedelta(minutes=10), 1, 1)
    assert wrong.example is not None
    assert wrong.example.endswith("USD, in its packed day: payments 7 -> 1")
    audit(pipeline, repair=True)
    mended = pipeline.session.execute(read).one()
    assert mended.numbers == good.numbers
    assert mended.version > good.version
    assert audit(pipeline).differing == []


def test_changes_beyond_what_is_complete_are_left_to_the_next_audit(pipeline: Pipeline) -> None:
    pipeline.produce([change("c", payment("p1"), at=1)], SECOND * 1000 - 1)
    pipeline.live()
    pipeline.spark.sql(f"DELETE FROM {pipeline.lake.facts}")
    assert audit(pipeline).differing == []
