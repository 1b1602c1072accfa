"""Lost history, with an own mongod whose oplog really rolls over: named, shown, and closed by comparing (I4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.integration.cdc.capture import RelayProcess, SmallOplog, Topic, payment, status
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def gaps(topic: Topic) -> list[dict[str, Any]]:
    topic.poll()
    return [event for event in (json.loads(message.value() or b"") for message in topic.messages) if event["kind"] == "gap"]


def test_lost_history_is_a_named_gap_that_a_comparison_closes(small: SmallOplog, tmp_path: Path) -> None:
    """Complaints 7 (DBZ-6455: a dead token needs offset surgery) and 9 (mongo-kafka PR#69: a silent idle connector)."""
    environ, prefix = small.environ, small.environ["MILLRACE_NAMES_TOPIC_PREFIX"]
    database = environ["MILLRACE_NAMES_DATABASE"]
    topic = Topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], f"{prefix}.{database}.payments")
    audit = Topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], f"{prefix}.audit")
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        payments = client[database]["payments"]
        payments.insert_many([payment(number) for number in range(300)])
        with RelayProcess(environ, tmp_path) as running:
            topic.wait_events(300)
            assert running.stop() == 0
        payments.insert_many([payment(number) for number in range(300, 320)])
        payments.update_many({"_id": {"$lt": "p000010"}}, {"$set": {"amount": 5}})
        payments.delete_many({"_id": {"$gte": "p000290", "$lt": "p000300"}})
        small.roll_over(client)
        stopped = RelayProcess({**environ, "MILLRACE_RELAY_ON_HISTORY_LOST": "stop"}, tmp_path).start()
        assert stopped.process.wait(120) == 5
        assert "no longer reaches back" in stopped.log
        with RelayProcess(environ, tmp_path) as running:
            # Not the phase: a stream may be open for a moment before MongoDB says that its history is lost.
            wait_until(lambda: len(gaps(audit)) == 3, 180, "the gap's opening (twice) and closing are in the audit topic")
            payments.insert_one(payment(999))
            events = topic.wait_events(300 + 20 + 10 + 10 + 1)
            assert running.metric("gaps_open") == 0
        told = status(environ)
    late = events[300:]
    assert sorted(event["after"]["_id"] for event in late if event["op"] == "r") == sorted(
        [f"p{number:06d}" for number in range(300, 320)] + [f"p{number:06d}" for number in range(10)]
    )
    removed = [message.key() for message in topic.messages if message.key() and json.loads(message.value() or b"")["op"] == "d"]
    assert sorted(removed) == [f"p{number:06d}".encode() for number in range(290, 300)]
    assert [event["after"]["_id"] for event in late if event["op"] == "c"] == ["p000999"]
    _, opened, closed = gaps(audit)
    assert (opened["to"], closed["repeated"], closed["removed"]) == (None, 30, 10)
    assert Timestamp(*closed["from"]) < Timestamp(*closed["to"])
    assert told["streams"][0]["gap"]["to"] == closed["to"]
    topic.close()
    audit.close()


def test_a_kill_while_a_gap_is_closed_leaves_it_open_and_it_is_closed_later(small: SmallOplog, tmp_path: Path) -> None:
    environ = small.environ
    database = environ["MILLRACE_NAMES_DATABASE"]
    topic = Topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.{database}.payments")
    slow = {
        "MILLRACE_RELAY_SNAPSHOT_RATE": "60",
        "MILLRACE_RELAY_FETCH_EVENTS": "50",
        "MILLRACE_RELAY_TRANSACTION_EVENTS": "50",
        "MILLRACE_RELAY_TRANSACTION_TIMEOUT_MS": "10000",
    }
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        payments = client[database]["payments"]
        with RelayProcess(environ, tmp_path) as running:
            assert running.stop() == 0
        payments.insert_many([payment(number) for number in range(1500)])
        small.roll_over(client)
        with RelayProcess({**environ, **slow}, tmp_path) as running:
            wait_until(lambda: running.state()["phase"] == "reconciling" and running.metric("events_total") > 100, 120, "it reconciles")
            assert running.metric("gaps_open") == 1
            running.kill()
        told = status(environ)
        assert told["streams"][0]["gap"]["to"] is None
        with RelayProcess(environ, tmp_path):
            events = topic.wait_events(1500)
    assert len({event["after"]["_id"] for event in events}) == 1500
    topic.close()
