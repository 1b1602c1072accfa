"""What the lake has otherwise than MongoDB is put right, and nothing else: of a scope, beside documents that are none (I4, I5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace_processors import mongo_source, reprocessing
from millrace_processors.errors import CommandError, UnavailableError
from millrace_processors.refresh import Mode
from millrace_processors.scope import Scope
from tests.integration.processors.events import MINUTE, T0, change, payment, refund
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.integration.processors_jobs.source import Source

pytestmark = pytest.mark.stack
START = datetime.fromtimestamp(T0 / 1000, UTC)


def test_what_is_missing_wrong_or_too_much_is_put_right(pipeline: Pipeline, source: Source) -> None:
    images = [payment(f"p{n}", amount=100 + n, paidAt=T0 + n * 10 * MINUTE) for n in range(6)]
    images[0] = {**images[0], "refunds": [refund("r", 30, T0 + 50 * MINUTE)]}
    pipeline.produce([change("c", image, at=n + 1) for n, image in enumerate(images)], T0)
    pipeline.live()
    source.put(*images)
    good, versions = pipeline.reports(), pipeline.versions()
    pipeline.spark.sql(f"DELETE FROM {pipeline.lake.facts} WHERE fact_id = 'p1'")  # missing
    pipeline.spark.sql(f"UPDATE {pipeline.lake.facts} SET amount = 1, method = NULL WHERE fact_id = 'p2'")  # wrong
    source.payments.delete_one({"_id": "p3"})  # of which no change has come
    source.put({**images[4], "amount": "much", "paidAt": "soon"})  # is none any more: keeps the facts that it had

    scope = Scope(START, START + timedelta(minutes=50))
    looked = reprocessing.from_mongo(pipeline.config, pipeline.lake, scope, Mode.COMPARE)
    assert (looked.events, looked.dead_letters, looked.corrected, looked.retracted) == (5, 1, 2, 1)
    assert (looked.refreshed.reports, looked.refreshed.equal, looked.refreshed.changed) == (5, 3, 2)
    assert pipeline.reports() == good

    done = reprocessing.from_mongo(pipeline.config, pipeline.lake, scope, Mode.COMPARE_AND_WRITE)
    assert (done.corrected, done.retracted, done.refreshed.changed) == (2, 1, 2)
    after = pipeline.reports()
    counts = {start: row[:2] for (_, start, _), row in after.items()}
    assert [counts[T0 + n * 10 * MINUTE] for n in range(6)] == [(1, 100), (1, 101), (1, 102), (0, 0), (1, 104), (1, 105)]
    equal = [("m", T0 + n * 10 * MINUTE, "USD") for n in (0, 4, 5)]
    assert [after[key] for key in equal] == [good[key] for key in equal], "a fact that is right gets no second version"
    assert pipeline.versions()[equal[2]] == versions[equal[2]], "outside of the scope"

    again = reprocessing.from_mongo(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE)
    assert (again.events, again.dead_letters, again.corrected, again.retracted) == (5, 1, 0, 0)


def test_every_range_of_ids_is_read_once_with_the_captured_fields_only(pipeline: Pipeline, source: Source) -> None:  # I12
    source.put(*(payment(f"p{n:04d}") for n in range(3_000)))
    source.payments.insert_many([{"_id": 7}, {"_id": 8.5}, {"merchantId": "m"}], bypass_document_validation=True)
    with mongo_source.opened(pipeline.config) as database:
        plan = mongo_source.plan(pipeline.config, database, {}, per_range=300)
    assert len(plan.ranges) > 5
    rows = mongo_source.records(pipeline.spark, plan).selectExpr("cast(key AS string) k", "cast(value AS string) v").collect()
    assert len(rows) == len({row.k for row in rows}) == 3_003
    assert {f"p{n:04d}" for n in range(3_000)} < {row.k for row in rows}
    assert not any("raw-" in row.v or "createdAt" in row.v for row in rows)


def test_a_source_that_can_not_be_read_is_named_with_the_fix(pipeline: Pipeline, source: Source) -> None:
    def opened(**settings: str) -> None:
        pipeline.see(settings)
        with mongo_source.opened(pipeline.config) as database:
            mongo_source.now(database)

    host = pipeline.environ["MILLRACE_MONGO_TRUTH_URI"].split("@")[1]
    with pytest.raises(CommandError, match="MongoDB refuses the user of MILLRACE_MONGO_TRUTH_URI; run `millrace mongo-init apply`"):
        opened(MILLRACE_MONGO_TRUTH_URI=f"mongodb://nobody:wrong@{host}")
    with pytest.raises(UnavailableError, match="MongoDB does not answer"):
        opened(MILLRACE_MONGO_TRUTH_URI="mongodb://a:b@127.0.0.1:9/?serverSelectionTimeoutMS=200")
    with pytest.raises(CommandError, match="MILLRACE_MONGO_TRUTH_URI is not set"):
        opened(MILLRACE_MONGO_TRUTH_URI="")
