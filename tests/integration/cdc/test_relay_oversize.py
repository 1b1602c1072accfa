"""A change over 16 MB, which MongoDB fails a whole reply for: nothing but that change is passed over, on purpose (I4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.collection import Collection

from millrace_cdc.projection import bucket_of
from tests.integration.cdc.capture import RelayProcess, Topic, millrace, payment

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def write_large(payments: Payments, number: int) -> None:
    """A payment of 9 MB: an update of it has two images that are together over 16 MB."""
    large = [payment(number, merchantId="m" * 9_000_000)]
    payments.database.command({"insert": "payments", "documents": large, "bypassDocumentValidation": True})


def oversized_in_one_transaction(payments: Payments, number: int) -> None:
    """Changes before the oversized one, itself and changes behind it, at one cluster time: one reply would hold them all."""
    with payments.database.client.start_session() as session, session.start_transaction():
        payments.insert_many([payment(100), payment(101)], session=session)
        change = {"update": "payments", "updates": [{"q": {"_id": f"p{number:06d}"}, "u": {"$set": {"status": "failed"}}}]}
        payments.database.command({**change, "bypassDocumentValidation": True}, session=session)
        payments.insert_many([payment(102), payment(103)], session=session)


def with_changes(payments: Payments, relay: MakeRelay) -> None:
    """A position before: a small payment, a large one with an oversized update, and what comes around it."""
    with relay() as running:
        running.wait_streaming()
        assert running.stop() == 0
    write_large(payments, 1)
    payments.insert_one(payment(2))
    oversized_in_one_transaction(payments, 1)
    payments.insert_many([payment(number) for number in range(3, 8)])


def ids(events: list[dict[str, Any]]) -> list[str]:
    return sorted(event["after"]["_id"] for event in events)


def named_token(relay: RelayProcess) -> str:
    return relay.log.split("millrace relay skip ")[1].split(" ")[0]


def test_only_the_oversized_change_itself_is_gone_past(environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read) -> None:
    """Complaint 10 (mongo-kafka PR#79): an oversized event breaks the stream and recovery skips events."""
    topic = read("payments")
    with_changes(payments, relay)
    first = relay().start()
    assert first.process.wait(180) == 6, first.log
    assert "larger than 16 MB" in first.log
    assert ids(topic.wait_events(3)) == ["p000002", "p000100", "p000101"], "what stands before it in the same reply is captured"
    token = named_token(first)
    later = ids(topic.events)
    again = relay().start()
    assert (again.process.wait(180), named_token(again)) == (6, token), "every start stops at the same change"
    second_later = f"{token[:2]}{int(token[2:10], 16) + 1:08X}{token[10:]}"
    early = millrace(environ, "relay", "skip", second_later, "--reason", "a later one")
    assert (early.returncode, token in early.stderr) == (2, True), "only the next change can be gone past"
    skipped = millrace(environ, "relay", "skip", token, "--reason", "18 MB with both images")
    assert skipped.returncode == 0, skipped.stderr
    with relay():
        events = topic.wait_events(3 + 2 + 5)
    assert ids(events) == sorted([*later, "p000102", "p000103", *(f"p{number:06d}" for number in range(3, 8))])
    letters = [json.loads(line) for line in millrace(environ, "relay", "dead-letters", "list", "--json").stdout.splitlines()]
    assert [letter["key"] for letter in letters] == ["p000001", None]
    assert (letters[1]["token"], "skipped on purpose: 18 MB with both images" in letters[1]["reason"]) == (token, True)
    assert millrace(environ, "relay", "skip", token, "--reason", "again").returncode == 2
    assert millrace(environ, "relay", "skip", "latest", "--reason", "x").returncode == 2


def test_another_stream_keeps_its_own_position(environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read) -> None:
    topic = read("payments")
    with relay("--streams", "2") as running:
        running.wait_streaming()
        assert running.stop() == 0
    write_large(payments, 1)
    payments.insert_many([payment(number) for number in range(2, 42)])
    oversized_in_one_transaction(payments, 1)
    found = payments.aggregate([{"$match": {"_id": "p000001"}}, {"$project": {"stream": bucket_of("$_id", 2)}}])
    # Only the stream of the oversized change runs: the other one's changes, before and behind it, wait in the oplog.
    running = relay("--streams", "2", "--stream", str(next(found)["stream"])).start()
    assert running.process.wait(180) == 6, running.log
    skipped = millrace(environ, "relay", "skip", named_token(running), "--reason", "18 MB")
    assert skipped.returncode == 0, skipped.stderr
    with relay("--streams", "2"):
        topic.wait_events(40 + 4)
