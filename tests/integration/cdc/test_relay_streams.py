"""Parallel streams of one collection, a changed number of them, and leases, with real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.collection import Collection

from tests.integration.cdc.capture import RelayProcess, Topic, millrace, payment
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def amounts(topic: Topic) -> dict[str, list[int]]:
    """The amounts of each document in the order of its partition."""
    found: dict[str, list[int]] = {}
    for event in topic.events:
        found.setdefault(event["after"]["_id"], []).append(event["after"]["amount"])
    return found


def test_two_streams_capture_all_of_one_collection_in_order(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """I3, and complaint 3 (DBZ-6984): one task can not follow a hot collection."""
    topic = read("payments")
    payments.insert_many([payment(number, amount=1) for number in range(50)])
    with relay("--streams", "2") as running:
        payments.insert_many([payment(number, amount=1) for number in range(50, 1000)])
        payments.update_many({}, {"$inc": {"amount": 1}})
        payments.update_many({}, {"$inc": {"amount": 1}})
        topic.wait_events(3000)
        wait_until(lambda: running.metric("events_total") == 3000, 120, "both workers' counts in one answer")
        assert set(running.state()["streams"]) == {"0", "1"}
        assert running.stop() == 0, running.log
    assert amounts(topic) == {f"p{number:06d}": [1, 2, 3] for number in range(1000)}
    marks = {(mark["stream"], mark["streams"]) for partition in topic.markers.values() for mark in partition}
    assert marks == {(0, 2), (1, 2)}


def test_the_number_of_streams_changes_without_loss_repetition_or_reordering(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:
    topic = read("payments")
    with relay("--streams", "2", "--stream", "0") as first:
        payments.insert_many([payment(number, amount=1) for number in range(600)])
        wait_until(lambda: first.metric("events_total") > 200, 120, "stream 0 is ahead")
        with relay("--streams", "2", "--stream", "1"):
            topic.wait_events(600)
        # Stream 1 is down and falls behind.
        payments.update_many({}, {"$inc": {"amount": 1}})
        payments.update_many({}, {"$inc": {"amount": 1}})
        before = int(first.metric("events_total"))
        wait_until(lambda: first.metric("events_total") > 600, 120, "stream 0 goes on alone")
        assert before <= first.metric("events_total") < 1800
        assert first.stop() == 0
    refused = relay("--streams", "3", "--stream", "2").start()
    assert refused.process.wait(120) == 2
    assert "`millrace relay migrate --streams 3` changes it without loss" in refused.log
    done = millrace(environ, "relay", "migrate", "--streams", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["before"], json.loads(done.stdout)["after"]) == (2, 3)
    with relay("--streams", "3"):
        payments.update_many({}, {"$inc": {"amount": 1}})
        topic.wait_events(2400)
    assert amounts(topic) == {f"p{number:06d}": [1, 2, 3, 4] for number in range(600)}


def test_a_running_relay_is_fenced_by_a_migration(environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read) -> None:  # I3
    with relay() as running:
        payments.insert_one(payment(1))
        read("payments").wait_events(1)
        assert millrace(environ, "relay", "migrate", "--streams", "2").returncode == 0
        payments.insert_one(payment(2))
        assert running.process.wait(120) == 4, running.log
    with relay("--streams", "2"):
        read("payments").wait_events(2)


def test_the_streams_of_a_machine_that_dies_are_taken_over(payments: Payments, relay: MakeRelay, read: Read) -> None:
    topic = read("payments")
    # Long enough that a machine which is stopped for some seconds is not held for dead.
    lease = {"MILLRACE_RELAY_LEASE_MS": "10000"}
    with relay("--streams", "2", "--shared", **lease) as first, relay("--streams", "2", "--shared", **lease) as second:
        both = (first, second)
        wait_until(lambda: all(each.ready() and len(each.state().get("streams", {})) == 1 for each in both), 120, "one stream each")
        payments.insert_many([payment(number, amount=1) for number in range(500)])
        topic.wait_events(500)
        first.kill()
        payments.update_many({}, {"$inc": {"amount": 1}})
        topic.wait_events(1000)
        assert len(second.state()["streams"]) == 2
    assert amounts(topic) == {f"p{number:06d}": [1, 2] for number in range(500)}


def test_a_machine_that_stalled_past_its_lease_stands_by_and_is_given_a_stream_again(
    payments: Payments, relay: MakeRelay, read: Read
) -> None:
    topic = read("payments")
    lease = {"MILLRACE_RELAY_LEASE_MS": "6000"}
    with relay("--streams", "2", "--shared", **lease) as first, relay("--streams", "2", "--shared", **lease) as second:

        def shares_evenly() -> bool:
            return all(each.ready() and len(each.state().get("streams", {})) == 1 for each in (first, second))

        wait_until(shares_evenly, 120, "one stream each")
        payments.insert_many([payment(number, amount=1) for number in range(500)])
        topic.wait_events(500)
        with first.stalled():
            payments.update_many({}, {"$inc": {"amount": 1}})
            topic.wait_events(1000)
            assert len(second.state()["streams"]) == 2
        payments.update_many({}, {"$inc": {"amount": 1}})
        topic.wait_events(1500)
        wait_until(shares_evenly, 120, f"the one that stalled has a stream again: {first.log}")
        payments.update_many({}, {"$inc": {"amount": 1}})
        topic.wait_events(2000)
        assert [each.stop() for each in (first, second)] == [0, 0], first.log
    assert amounts(topic) == {f"p{number:06d}": [1, 2, 3, 4] for number in range(500)}
