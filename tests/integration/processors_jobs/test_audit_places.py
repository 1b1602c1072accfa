"""The audit looks at MongoDB too, and at what the relay says that it wrote (I4)."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Code, ObjectId
from bson.datetime_ms import DatetimeMS
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_cdc import audit as relays
from millrace_contracts.documents import PAYMENT_CAPTURED_FIELDS
from millrace_contracts.topics import audit_topic
from millrace_contracts.values.bson_json import RAW
from millrace_processors import auditing, mongo_images, reprocessing
from millrace_processors.auditing import Audited
from millrace_processors.refresh import Mode
from millrace_processors.scope import Scope
from tests.integration.processors.events import MINUTE, T0, change, payment, refund
from tests.integration.processors_jobs.history import Event, disturbed, events
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.integration.processors_jobs.source import Source, document

pytestmark = pytest.mark.stack
START = datetime.fromtimestamp(T0 / 1000, UTC)


def audit(pipeline: Pipeline, repair: bool = False, scope: Scope | None = None) -> Audited:
    return auditing.run(pipeline.config, pipeline.lake, scope or Scope(), repair=repair, settle_seconds=0)


def told_by_the_relay(pipeline: Pipeline, history: list[Event]) -> None:
    """Write the counts of some events, as the relay's own code makes them of the documents."""
    counts: relays.Counts = {}
    for _, value in history:
        event = json.loads(value)
        image: dict[str, Any] = document(event["after"] or event["before"])
        relays.count(counts, event["op"], {**image, "paidAt": image["paidAt"].replace(tzinfo=None)})
    topic = audit_topic(pipeline.config.names)
    admin = AdminClient({"bootstrap.servers": pipeline.config.kafka.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    producer = Producer({"bootstrap.servers": pipeline.config.kafka.bootstrap})
    producer.produce(topic, relays.encode(f"{pipeline.config.names.database}.payments", 0, counts, 1))
    producer.produce(topic, b'{"kind":"gap","collection":"other"}')
    assert producer.flush(60) == 0


def test_every_place_is_compared_and_a_history_that_is_whole_is_certified(pipeline: Pipeline, source: Source) -> None:
    history = events(8, 40)
    source.hold(history)
    pipeline.produce(disturbed(3, history), source.now_ms())
    pipeline.live()
    told_by_the_relay(pipeline, history)
    found = audit(pipeline)
    assert (found.differing, found.left_out) == ([], [])
    assert found.certified == found.windows == len({start for _, start, _ in pipeline.reports()})

    # By hand: the facts and amounts of the documents that are left.
    facts, amounts = Counter[int](), Counter[int]()
    for each in source.payments.find():
        paid = [(each["paidAt"], each["amount"])] if each["status"] in ("succeeded", "failed") else []
        given_back = [(made["refundedAt"], made["amount"]) for made in each["refunds"]] if each["status"] == "succeeded" else []
        for at, amount in paid + given_back:
            start = int(at.replace(tzinfo=UTC).timestamp()) // 600 * 600_000
            facts[start] += 1
            amounts[start] += amount
    rows = pipeline.spark.table(pipeline.lake.certificates).selectExpr("*", "unix_millis(window_start) AS start").collect()
    assert {row["start"]: row["mongo_facts"] for row in rows if row["mongo_facts"]} == dict(facts)
    assert all((row["mongo_facts"], row["mongo_amount"]) == (row["live_facts"], row["live_amount"]) for row in rows)
    assert sum(row["mongo_amount"] for row in rows) == sum(amounts.values())
    assert all(row["topic_events"] >= row["relay_events"] for row in rows), "those that came twice were written once"


def refused_payments() -> list[tuple[str, dict[str, Any]]]:
    """(the field that is wrong, the payment as MongoDB holds it): what drivers, restores and bypassed validators leave."""
    good, at = document(payment(paidAt=T0)), DatetimeMS(T0)
    year_2150, year_10000, year_1969 = DatetimeMS(5_680_281_600_000), DatetimeMS(253_402_300_800_000), DatetimeMS(-86_400_000)
    given_back = [{"id": "r", "amount": 1, "refundedAt": at}, {"id": "s", "amount": 1, "refundedAt": year_2150}]
    changes: list[tuple[str, dict[str, Any]]] = [
        *(("paidAt", {"paidAt": each}) for each in (year_2150, year_10000, year_1969)),
        ("refunds", {"refunds": given_back}),
        *(("merchantId", {"merchantId": each}) for each in (ObjectId(), 42, True, {"id": "x"}, Code("m"))),
        ("currency", {"currency": 840}),
        ("method", {"method": 7}),
        ("points.used", {"points": {"used": float("nan"), "earned": 0}}),
        ("points.earned", {"points": {"used": 0, "earned": float("inf")}}),
        ("_id", {"_id": 7}),
        # These were good once, and keep the facts that they had then.
        ("merchantId", {"_id": "was-of-m", "merchantId": ObjectId()}),
        ("paidAt", {"_id": "was-early", "paidAt": year_10000}),
        ("currency", {"_id": "was-in-dollars", "merchantId": "n", "currency": "840"}),
    ]
    return [(field, {**good, "_id": f"bad-{number}", **change}) for number, (field, change) in enumerate(changes)]


def test_payments_that_are_refused_differ_nowhere_and_are_named(pipeline: Pipeline, source: Source) -> None:  # I4 I6
    once = [payment(name, paidAt=T0) for name in ("was-of-m", "was-early", "was-in-dollars")]
    bad = refused_payments()
    good = document(payment("7", paidAt=T0, refunds=[refund("r", 3, T0 + 15 * MINUTE)]))
    source.payments.insert_many([good, *(made for _, made in bad)], bypass_document_validation=True)
    second = source.now_ms() // 1000
    raw = source.payments.with_options(RAW).find({}, dict.fromkeys(PAYMENT_CAPTURED_FIELDS, 1))
    events = mongo_images.events(list(raw), pipeline.config.names.database, (second, 1))  # type: ignore[arg-type]
    history = [change("c", image, at=n + 1) for n, image in enumerate(once)] + [(key.decode(), value.decode()) for key, value in events]
    pipeline.produce(history, source.now_ms())
    pipeline.live()
    reports = pipeline.reports()
    assert {key: row[:4] for key, row in reports.items()} == {
        ("m", T0, "USD"): (4, 400, 0, 0),
        ("m", T0 + 10 * MINUTE, "USD"): (0, 0, 1, 3),
    }
    for scope in (Scope(), Scope(START, START + timedelta(minutes=10), ("m",))):
        found = audit(pipeline, scope=scope)
        assert found.differing == []
        assert found.refused == Counter(field for field, _ in bad)
        again = reprocessing.from_mongo(pipeline.config, pipeline.lake, scope, Mode.COMPARE)
        assert (again.corrected, again.retracted, again.dead_letters, again.refreshed.changed) == (0, 0, len(bad), 0)
    source.payments.delete_one({"_id": "7"})  # the text; the number 7 is another payment, and stays
    gone = reprocessing.from_mongo(pipeline.config, pipeline.lake, Scope(), Mode.COMPARE)
    assert (gone.corrected, gone.retracted) == (0, 2)


def test_what_mongodb_has_otherwise_and_what_kafka_has_lost_is_named(pipeline: Pipeline, source: Source) -> None:
    images = [payment(f"p{n}", amount=100 + n, paidAt=T0 + n * 10 * MINUTE) for n in range(5)]
    made = [change("c", image, at=n + 1) for n, image in enumerate(images)]
    source.put(*images)
    source.put({**images[1], "refunds": [refund("r", 7, T0 + 15 * MINUTE)]}, payment("unseen", amount=9, paidAt=T0 + 70 * MINUTE))
    source.payments.delete_one({"_id": "p2"})
    pipeline.produce(made, source.now_ms())
    pipeline.live()
    good = pipeline.reports()
    told_by_the_relay(pipeline, [*made, change("c", payment("lost", paidAt=T0 + 30 * MINUTE), at=9)])

    found = audit(pipeline)
    assert (found.windows, found.certified) == (6, 2)
    refunded, deleted, lost, unseen = found.differing
    assert [each.start for each in found.differing] == [START + timedelta(minutes=10 * n) for n in (1, 2, 3, 7)]
    assert (refunded.mongo_facts, refunded.live_facts, refunded.mongo_amount, refunded.live_amount) == (2, 1, 108, 101)
    assert (deleted.mongo_facts, deleted.live_facts, unseen.mongo_facts, unseen.live_facts) == (0, 1, 1, 0)
    assert (lost.of_mongo, lost.of_relay, lost.topic_events, lost.relay_events) == (False, True, 1, 2)
    assert [each.of_mongo for each in found.differing] == [True, True, False, True]
    narrow = audit(pipeline, scope=Scope(START, START + timedelta(minutes=20), ("m",)))
    assert [each.start for each in narrow.differing] == [refunded.start]
    assert narrow.left_out == ["the relay's counts: they know no merchants"]

    repaired = audit(pipeline, repair=True)
    assert repaired.repaired_facts == 3
    reports = {start: row[:4] for (_, start, _), row in pipeline.reports().items()}
    assert reports[T0 + 10 * MINUTE] == (1, 101, 1, 7)
    assert reports[T0 + 20 * MINUTE] == (0, 0, 0, 0)
    assert reports[T0 + 70 * MINUTE] == (1, 9, 0, 0)
    untouched = [("m", T0 + n * 10 * MINUTE, "USD") for n in (0, 4)]
    assert [pipeline.reports()[key] for key in untouched] == [good[key] for key in untouched]
    pipeline.produce([], source.now_ms())
    pipeline.live()
    assert [each.start for each in audit(pipeline).differing] == [lost.start], "what Kafka has lost stays lost; the payment was none"


def test_a_completeness_that_mongodb_no_longer_remembers_is_said(pipeline: Pipeline, source: Source) -> None:
    pipeline.produce([change("c", payment("p1"), at=1)], 1_764_003_600_000)
    pipeline.live()
    found = audit(pipeline)
    assert (found.differing, found.certified) == ([], 1)
    assert found.left_out[0].startswith("MongoDB: it no longer remembers what it held when all was complete")
    row = pipeline.spark.table(pipeline.lake.certificates).first()
    assert row is not None
    assert (row["mongo_facts"], row["relay_events"]) == (None, None)
