"""Drop, rename, invalidate and dropDatabase: a named policy, always a record, never silence (I4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.collection import Collection

from tests.integration.cdc.capture import RelayProcess, Topic, payment
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def collection_events(topic: Topic) -> list[dict[str, Any]]:
    topic.poll()
    return [event for event in (json.loads(message.value() or b"") for message in topic.messages) if event["kind"] == "collection-event"]


def test_a_drop_stops_the_relay_before_it_and_every_start_says_so_again(payments: Payments, relay: MakeRelay, read: Read) -> None:
    topic, audit = read("payments"), read("audit")
    with relay() as running:
        payments.insert_many([payment(number) for number in range(10)])
        payments.drop()
        assert running.process.wait(120) == 6
        assert "saw a drop" in running.log
        assert "MILLRACE_RELAY_ON_DROP=record" in running.log
    topic.wait_events(10)
    again = relay().start()
    assert again.process.wait(120) == 6
    wait_until(lambda: len(collection_events(audit)) == 2, 120, "the drop is recorded")
    assert {(event["operation"], event["policy"]) for event in collection_events(audit)} == {("drop", "stop")}
    assert topic.wait_events(10)


@pytest.mark.parametrize(("how", "operations"), [("drop", ["drop", "invalidate"]), ("rename", ["rename", "invalidate"])])
def test_by_policy_it_is_recorded_and_the_stream_goes_on_behind_it(
    payments: Payments, relay: MakeRelay, read: Read, how: str, operations: list[str]
) -> None:
    """Complaint 12 (airbyte#80250: frozen token) and mongo-kafka's 260: an invalidate is gone past with startAfter, no change is lost."""
    topic, audit = read("payments"), read("audit")
    with relay(MILLRACE_RELAY_ON_DROP="record"):
        payments.insert_many([payment(number) for number in range(10)])
        if how == "drop":
            payments.drop()
        else:
            payments.rename("archived")
        payments.insert_many([payment(number) for number in range(10, 20)])
        events = topic.wait_events(20)
        wait_until(lambda: len(collection_events(audit)) == 2, 120, "both are recorded")
    assert [event["operation"] for event in collection_events(audit)] == operations
    assert sorted(event["after"]["_id"] for event in events) == [f"p{number:06d}" for number in range(20)]
    if how == "rename":
        assert collection_events(audit)[0]["to"].endswith(".archived")
    with relay(MILLRACE_RELAY_ON_DROP="record"):
        payments.insert_one(payment(20))
        topic.wait_events(21)


def test_a_dropped_database_is_recorded(payments: Payments, relay: MakeRelay, read: Read) -> None:
    audit = read("audit")
    with relay(MILLRACE_RELAY_ON_DROP="record"):
        payments.insert_one(payment(1))
        payments.database.client.drop_database(payments.database.name)
        wait_until(lambda: [event["operation"] for event in collection_events(audit)][:2] == ["drop", "invalidate"], 120, "recorded")
