"""Snapshots with a real mongod and Kafka: all types of ids, killed at any chunk, asked for while streaming."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, ObjectId
from pymongo import MongoClient
from pymongo.collection import Collection

from millrace_cdc.progress import read_records
from millrace_contracts.settings import KafkaSettings
from tests.integration.cdc.capture import RelayProcess, SmallOplog, Topic, millrace, payment, status
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]
SMALL = {"MILLRACE_RELAY_SNAPSHOT_CHUNK_DOCUMENTS": "500", "MILLRACE_RELAY_FETCH_EVENTS": "100", "MILLRACE_RELAY_TRANSACTION_EVENTS": "200"}


def insert(payments: Payments, documents: list[dict[str, Any]]) -> None:
    """Past the validator, which allows ids of type string only."""
    payments.database.command({"insert": "payments", "documents": documents, "bypassDocumentValidation": True})


def test_ids_of_every_type_are_in_the_snapshot(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """Complaint 14 (estuary/connectors#4693): `_id > x` is type-bracketed and skipped documents of other types."""
    ids: list[Any] = [f"text-{number:04d}" for number in range(900)]
    ids += list(range(900)) + [number + 0.5 for number in range(300)]
    ids += [ObjectId(f"{number:024x}") for number in range(900)]
    ids += [Binary.from_uuid(uuid.UUID(int=number)) for number in range(600)] + [{"a": number} for number in range(300)] + [True, False]
    insert(payments, [payment(number, _id=document_id) for number, document_id in enumerate(ids)])
    topic = read("payments")
    with relay(**SMALL):
        events = topic.wait_events(len(ids))
    assert len({json.dumps(event["after"]["_id"]) for event in events}) == len(ids)
    assert {event["op"] for event in events} == {"r"}


def test_a_snapshot_killed_at_any_chunk_goes_on_there(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """Complaints 4 (dbz#1708: crash loop after an interrupted snapshot) and 6 (DBZ-9232: its state lost)."""
    insert(payments, [payment(number) for number in range(6_000)])
    topic = read("payments")
    # All of it would take twelve seconds: a kill is in the middle also where this test is stopped for some of them.
    slow = {**SMALL, "MILLRACE_RELAY_SNAPSHOT_RATE": "500", "MILLRACE_RELAY_TRANSACTION_TIMEOUT_MS": "10000"}
    for wanted in (300, 900, 1500):
        with relay(**slow) as running:
            # The writes during the snapshot belong to the stream that follows it.
            payments.update_one({"_id": f"p{wanted:06d}"}, {"$set": {"amount": 7}})
            wait_until(lambda: (topic.poll(), topic.count > wanted)[1], 120, "reads arrive")  # noqa: B023
            running.kill()
    topic.poll()
    assert topic.count < 6_000, "the kills came in the middle"
    with relay(**SMALL):
        events = topic.wait_events(6_003)
    reads = [event["after"]["_id"] for event in events if event["op"] == "r"]
    assert len(reads) == len(set(reads)) == 6_000
    assert {event["after"]["_id"] for event in events if event["op"] == "u"} == {"p000300", "p000900", "p001500"}


def test_a_snapshot_is_of_one_time_and_the_stream_follows_without_a_gap(payments: Payments, relay: MakeRelay, read: Read) -> None:
    insert(payments, [payment(number, amount=1) for number in range(3000)])
    topic = read("payments")
    with relay(**SMALL, MILLRACE_RELAY_SNAPSHOT_RATE="3000"):
        for _ in range(3):
            payments.update_many({}, {"$inc": {"amount": 1}})
        payments.insert_one(payment(3000, amount=1))
        topic.wait_events(3000 + 9000 + 1)
    history: dict[str, list[int]] = {}
    for event in topic.events:
        history.setdefault(event["after"]["_id"], []).append(event["after"]["amount"])
    times = {(event["source"]["ts_ms"], event["source"]["ord"]) for event in topic.events if event["op"] == "r"}
    assert len(times) == 1
    assert {tuple(amounts) for key, amounts in history.items() if key != "p003000"} == {(1, 2, 3, 4)}
    assert history["p003000"] == [1]


def test_a_snapshot_that_is_asked_for_runs_between_the_changes(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:
    """Complaint 6 (DBZ#1807): the filter holds for every chunk, the first one too."""
    topic = read("payments")
    with relay(**SMALL):
        payments.insert_many([payment(number) for number in range(3000)])
        topic.wait_events(3000)
        done = millrace(environ, "relay", "snapshot", "--filter", '{"merchantId": "m3"}', "--wait")
        assert done.returncode == 0, done.stderr
        payments.insert_one(payment(3001))
        wanted = [number for number in range(3000) if number % 7 == 3]
        events = topic.wait_events(3000 + len(wanted) + 1)
    assert sorted(event["after"]["_id"] for event in events if event["op"] == "r") == [f"p{number:06d}" for number in wanted]
    records = read_records(KafkaSettings.load(environ), f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.relay.progress", 60)
    assert not [key for key in records if "/request/" in key or ("/snapshot/" in key and "/snapshot/initial" not in key)]


def test_changes_go_on_while_a_snapshot_that_was_asked_for_runs_and_a_kill_does_not_end_it(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:
    topic = read("payments")
    wanted = [f"p{number:06d}" for number in range(2000) if number % 7 == 3]
    # All of it would take almost a minute.
    slow = {**SMALL, "MILLRACE_RELAY_SNAPSHOT_RATE": "5", "MILLRACE_RELAY_TRANSACTION_TIMEOUT_MS": "10000"}
    with relay(**slow) as running:
        payments.insert_many([payment(number, amount=1) for number in range(2000)])
        topic.wait_events(2000)
        assert millrace(environ, "relay", "snapshot", "--filter", '{"merchantId": "m3"}').returncode == 0
        wait_until(lambda: running.metric("events_total") > 2000 + 5, 120, "it has begun")
        payments.update_many({"merchantId": {"$in": ["m3", "m4"]}}, {"$inc": {"amount": 1}})
        changed = payments.count_documents({"amount": 2})
        wait_until(lambda: _ops(topic).count("u") == changed, 120, "the changes are there")
        assert _ops(topic).count("r") < len(wanted), "and did not wait for the snapshot"
        running.kill()
    assert status(environ)["requests"] != []
    with relay(**SMALL):
        events = topic.wait_events(2000 + changed + len(wanted))
        wait_until(lambda: status(environ)["requests"] == [], 120, "it has ended")
    assert sorted(event["after"]["_id"] for event in events if event["op"] == "r") == wanted, "each once, also after the kill"
    newest: dict[str, tuple[int, int, str]] = {}
    amounts: dict[str, int] = {}
    for event in events:
        key, source = event["after"]["_id"], event["source"]
        version = (source["ts_ms"], source["ord"], source["token"] or "")
        if version >= newest.get(key, version):
            newest[key], amounts[key] = version, event["after"]["amount"]
    assert amounts == {f"p{number:06d}": 2 if number % 7 in (3, 4) else 1 for number in range(2000)}


def _ops(topic: Topic) -> list[str]:
    topic.poll()
    return [event["op"] for event in topic.events]


def test_a_filter_that_mongodb_refuses_is_one_line_and_the_relay_goes_on(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:
    with relay():
        for bad in ("{", '{"$nope": 1}'):
            refused = millrace(environ, "relay", "snapshot", "--filter", bad)
            assert refused.returncode == 2
            assert "--filter" in refused.stderr
            assert "Traceback" not in refused.stderr
        payments.insert_one(payment(1))
        read("payments").wait_events(1)


def test_a_snapshot_that_outlasts_mongodbs_memory_goes_on_at_a_newer_time(small: SmallOplog, tmp_path: Path) -> None:
    """MongoDB forgets the past (here after a second): the rest is read at a newer time, the stream has every change since the first."""
    environ = small.environ
    database = environ["MILLRACE_NAMES_DATABASE"]
    topic = Topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.{database}.payments")
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        payments = client[database]["payments"]
        client.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=1)
        payments.insert_many([payment(number, amount=1) for number in range(600)])
        with RelayProcess({**environ, **SMALL, "MILLRACE_RELAY_SNAPSHOT_RATE": "60"}, tmp_path) as running:
            wait_until(lambda: running.metric("events_total") >= 60, 120, "it has begun")
            payments.update_many({}, {"$set": {"amount": 2}})
            events = topic.wait_events(1200)
            assert "snapshot time is gone" in running.log
    reads = [event for event in events if event["op"] == "r"]
    assert len(reads) == len({event["after"]["_id"] for event in reads}) == 600
    assert len({(event["source"]["ts_ms"], event["source"]["ord"]) for event in reads}) > 1
    newest: dict[str, tuple[tuple[int, int, str], int]] = {}
    for event in events:
        version = (event["source"]["ts_ms"], event["source"]["ord"], event["source"]["token"] or "")
        key, amount = event["after"]["_id"], event["after"]["amount"]
        newest[key] = max(newest.get(key, (version, amount)), (version, amount))
    assert {amount for _, amount in newest.values()} == {2}
    topic.close()
