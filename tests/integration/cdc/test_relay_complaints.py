"""Complaints about the peers (see the reference) that no other test of the relay names; each would fail with the peer's behaviour."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.integration.cdc.capture import RelayProcess, Topic, payment
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def test_a_start_with_the_same_options_takes_its_own_token(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """Complaint 2 (dbz#2619): a token was rejected because the check at the start used other options than the stream."""
    topic = read("payments")
    with relay() as running:
        payments.insert_many([payment(number) for number in range(5)])
        topic.wait_events(5)
        assert running.stop() == 0
    for number in range(5, 7):
        with relay() as running:
            payments.update_one({"_id": "p000001"}, {"$inc": {"amount": 1}})
            topic.wait_events(number + 1)
            running.kill()


def test_parallel_reads_stamp_every_document_with_its_own_collection(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """Complaint 5 (dbz#1531): a race of parallel snapshots stamped events with another collection."""
    payments.insert_many([payment(number) for number in range(4000)])
    payments.database["merchants"].database.command(
        {"insert": "merchants", "documents": [{"_id": f"m{number}"} for number in range(100)], "bypassDocumentValidation": True}
    )
    topic = read("payments")
    small = {"MILLRACE_RELAY_SNAPSHOT_THREADS": "4", "MILLRACE_RELAY_SNAPSHOT_CHUNK_DOCUMENTS": "250", "MILLRACE_RELAY_FETCH_EVENTS": "50"}
    with relay(**small):
        events = topic.wait_events(4000)
    assert {(event["source"]["db"], event["source"]["collection"]) for event in events} == {(payments.database.name, "payments")}
    assert {event["after"]["_id"] for event in events} == {f"p{number:06d}" for number in range(4000)}
    keys = [(message.key() or b"").decode() for message in topic.messages if message.key()]
    assert keys == [event["after"]["_id"] for event in events]


def test_memory_does_not_grow_with_the_collection(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """Complaint 11 (flink-cdc#2504): out of memory while a large collection was split into chunks."""
    for start in range(0, 20_000, 5000):
        payments.insert_many([payment(number) for number in range(start, start + 5000)], ordered=False)
    small = {
        "MILLRACE_RELAY_QUEUE_BYTES": str(1024 * 1024),
        "MILLRACE_RELAY_SNAPSHOT_CHUNK_DOCUMENTS": "100",
        "MILLRACE_RELAY_FETCH_EVENTS": "500",
    }
    with relay(**small) as running:
        seen = 0

        def finished() -> bool:
            nonlocal seen
            seen = max(seen, psutil.Process(running.process.pid).memory_info().rss)
            return running.metric("events_total") >= 20_000

        wait_until(finished, 180, f"the snapshot: {running.log}")
    assert seen < 250 * 2**20


def test_an_idle_database_is_not_snapshotted_again(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """Complaint 15 (redpanda#3425): an idle database was snapshotted again and again, its position never advanced."""
    payments.insert_many([payment(number) for number in range(20)])
    topic = read("payments")
    for _ in range(2):
        with relay() as running:
            running.wait_streaming()
            assert running.stop() == 0
    with relay():
        payments.insert_one(payment(20))
        events = topic.wait_events(21)
    assert [event["op"] for event in events].count("r") == 20


def test_a_stream_that_can_not_be_opened_ends_the_process_with_words(environ: dict[str, str], payments: Payments, relay: MakeRelay) -> None:
    """Complaint 9 (mongo-kafka PR#69): a failed resume left a silent, idle connector."""
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as admin:
        other = f"norole{os.getpid()}"
        admin.admin.command("createUser", other, pwd="secret", roles=[])
        host = environ["MILLRACE_MONGO_RELAY_URI"].split("@")[1]
        stranger = relay(MILLRACE_MONGO_RELAY_URI=f"mongodb://{other}:secret@{host}").start()
        assert stranger.process.wait(120) == 2
        assert "MongoDB refuses the relay's user" in stranger.log
        assert "Traceback" not in stranger.log
        admin.admin.command("dropUser", other)
