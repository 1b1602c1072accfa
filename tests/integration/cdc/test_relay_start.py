"""An operator names where the relay begins; complaint 15's second part (estuary/connectors#5042: an operator can not supply a token)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.integration.cdc.capture import RelayProcess, Topic, millrace, payment, status

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def written(payments: Payments, count: int) -> list[tuple[str, Timestamp]]:
    """The token and cluster time of each of so many inserts, as pymongo's own change stream tells them; two in each transaction."""
    with payments.watch() as stream:
        for number in range(0, count, 2):
            with payments.database.client.start_session() as session, session.start_transaction():
                payments.insert_many([payment(number), payment(number + 1)], session=session)
        found = [next(stream) for _ in range(count)]
    return [(str(change["_id"]["_data"]), change["clusterTime"]) for change in found]


def ids(events: list[dict[str, Any]]) -> list[str]:
    return sorted(event["after"]["_id"] for event in events)


def numbers(*wanted: int) -> list[str]:
    return [f"p{number:06d}" for number in wanted]


def test_two_streams_begin_behind_a_token_that_lies_inside_a_transaction(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:
    tokens = written(payments, 10)
    topic, audit = read("payments"), read("audit")
    done = millrace(environ, "relay", "start-from", tokens[4][0], "--streams", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["at"] == [tokens[4][1].time, tokens[4][1].inc]
    with relay("--streams", "2") as running:
        payments.insert_one(payment(10))
        events = topic.wait_events(6)
        assert running.stop() == 0, running.log
    assert ids(events) == numbers(5, 6, 7, 8, 9, 10)
    assert {event["op"] for event in events} == {"c"}, "no snapshot was made"
    audit.poll()
    (record,) = [each for each in (json.loads(message.value() or b"") for message in audit.messages) if each["kind"] == "started-from"]
    assert (record["token"], record["streams"], record["before"]) == (tokens[4][0], 2, [])


def test_progress_is_given_up_only_when_it_is_said(environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read) -> None:
    topic = read("payments")
    payments.insert_many([payment(number) for number in range(20, 23)])
    with relay() as running:
        assert len(topic.wait_events(3)) == 3
        assert running.stop() == 0
    tokens = written(payments, 6)
    refused = millrace(environ, "relay", "start-from", tokens[3][0])
    assert (refused.returncode, "--replace gives it up" in refused.stderr) == (2, True)
    with relay() as running:
        topic.wait_events(9)
        # Back, while the relay runs: it is fenced, and the changes since then come again.
        done = millrace(environ, "relay", "start-from", f"{tokens[2][1].time}.{tokens[2][1].inc}", "--replace")
        assert done.returncode == 0, done.stderr
        payments.insert_one(payment(6))
        assert running.process.wait(120) == 4, running.log
    with relay():
        events = topic.wait_events(9 + 4 + 1)
    assert ids(events) == sorted([*numbers(0, 1, 2, 3, 4, 5, 20, 21, 22), *numbers(2, 3, 4, 5), *numbers(6)])
    told = status(environ)
    assert [stream["historyLost"] for stream in told["streams"]] == [False]


@pytest.mark.parametrize(
    ("point", "code", "words"),
    [
        ("next-week", 2, "has no bookmark 'next-week'"),
        ("82ZZ", 2, "is no point"),
        ("82" + "7FFFFFFF00000001" + "2B0229296E04", 2, "in the future of this cluster"),
    ],
)
def test_a_point_that_is_none_is_refused_in_one_line(environ: dict[str, str], point: str, code: int, words: str) -> None:
    refused = millrace(environ, "relay", "start-from", point)
    assert (refused.returncode, words in refused.stderr, refused.stderr.count("\n")) == (code, True, 1), refused.stderr


@pytest.mark.parametrize("point", ["1000000000.1", "-2d"])
def test_before_the_replica_sets_first_change_is_from_the_beginning(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read, point: str
) -> None:
    # The oplog of the tests' server has not turned over: what came before it is nothing, and not lost.
    payments.insert_many([payment(number) for number in range(3)])
    topic = read("payments")
    done = millrace(environ, "relay", "start-from", point)
    assert (done.returncode, "the replica set's first change" in done.stdout + done.stderr) == (0, True), done.stderr
    with relay():
        events = topic.wait_events(3)
    assert ids(events) == numbers(0, 1, 2)


def test_a_token_of_another_collection_is_refused(environ: dict[str, str], payments: Payments) -> None:
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        other = client[f"{payments.database.name}-other"]["payments"]
        foreign = written(other, 2)[0][0]
        payments.insert_one(payment(1))
        refused = millrace(environ, "relay", "start-from", foreign)
        client.drop_database(other.database.name)
    assert (refused.returncode, "the token is of another cluster or collection" in refused.stderr) == (2, True), refused.stderr


def test_from_now_on_is_without_what_is_there(environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read) -> None:
    payments.insert_many([payment(number) for number in range(5)])
    topic = read("payments")
    begun = time.time()
    done = json.loads(millrace(environ, "relay", "start-from", "now", "--json").stdout)
    assert begun - 60 < done["at"][0] < time.time() + 1
    payments.insert_one(payment(5))
    with relay():
        events = topic.wait_events(1)
    assert ids(events) == numbers(5)
