"""What operators do: look, send a dead letter again, go past a change that can not be read; and the audit counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from millrace_cdc.audit import total
from tests.integration.cdc.capture import PAID_MS, RelayProcess, Topic, answered, millrace, payment, status
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def test_a_dead_letter_is_listed_shown_and_sent_again_once_it_was_put_right(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:  # I4
    topic = read("payments")
    with relay() as running:
        broken = bson.encode(payment(2)).replace(b"gold\x00", b"\xff\xfeld\x00")
        payments.with_options(codec_options=bson.CodecOptions(document_class=RawBSONDocument)).insert_one(RawBSONDocument(broken))
        wait_until(lambda: running.metric("dead_letters_total") == 1, 120, "the dead letter")
        (line,) = millrace(environ, "relay", "dead-letters", "list", "--json").stdout.splitlines()
        letter = json.loads(line)
        assert (letter["key"], letter["stage"]) == ("p000002", "relay")
        shown = json.loads(millrace(environ, "relay", "dead-letters", "show", str(letter["offset"])).stdout)
        assert shown["document"]["fullDocument"]["user"]["grade"] == "��ld"
        still = millrace(environ, "relay", "dead-letters", "retry", str(letter["offset"]))
        assert (still.returncode, "user.grade" in still.stderr) == (6, True)
        payments.update_one({"_id": "p000002"}, {"$set": {"user.grade": "gold"}})
        retried = millrace(environ, "relay", "dead-letters", "retry", str(letter["offset"]))
        assert retried.returncode == 0, retried.stderr
        payments.insert_one(payment(3))
        events = topic.wait_events(3)
        assert running.process.poll() is None
    assert Counter(event["op"] for event in events) == {"u": 1, "r": 1, "c": 1}
    assert [event["after"]["user"]["grade"] for event in events] == ["gold"] * 3
    assert millrace(environ, "relay", "dead-letters", "show", "99").returncode == 2


def test_status_shows_position_runway_and_what_was_captured(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:
    before = answered(environ, "relay", "status")
    assert (before.returncode, "start with `millrace relay run`" in before.stdout) == (0, True)
    payments.insert_many([payment(number) for number in range(10)])
    with relay() as running:
        payments.insert_one(payment(10))
        read("payments").wait_events(11)
        wait_until(lambda: running.metric("oplog_runway_seconds") > 0, 120, "the runway is known")
        wait_until(lambda: running.metric("lag_events") == 0, 120, "nothing waits")
        assert running.stop() == 0
    payments.insert_many([payment(number) for number in range(20, 27)])
    payments.database["merchants"].insert_one({"_id": "m1"}, bypass_document_validation=True)
    found = status(environ)
    assert (found["snapshot"]["done"], found["snapshot"]["documents"], found["deadLetters"]) == (True, 10, 0)
    assert found["streams"][0]["runwaySeconds"] > 0
    assert found["streams"][0]["historyLost"] is False
    assert (found["streams"][0]["eventsWaiting"], found["streams"][0]["eventsWaitingIsAll"]) == (7, True)
    text = answered(environ, "relay", "status")
    assert (text.returncode, "stream 0 of 1" in text.stdout, "7 events wait" in text.stdout) == (0, True, True)


def test_a_broker_that_is_away_is_told_in_seconds(environ: dict[str, str]) -> None:
    """Not only after MILLRACE_RELAY_RETRY_SECONDS, which is for a relay that runs."""
    away = {**environ, "MILLRACE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}", "MILLRACE_RELAY_RETRY_SECONDS": "600"}
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda command: millrace(away, "relay", *command), [("status",), ("dead-letters", "list")]))
    for each in found:
        assert (each.returncode, each.stderr.count("\n")) == (3, 1), each.stderr
        assert f"Kafka at {away['MILLRACE_KAFKA_BOOTSTRAP']} d" in each.stderr


def test_audit_counts_are_what_a_consumer_counts(payments: Payments, relay: MakeRelay, read: Read) -> None:
    payments.insert_many([payment(number) for number in range(1000)])
    topic, audit = read("payments"), read("audit")
    with relay(MILLRACE_RELAY_TRANSACTION_EVENTS="300", MILLRACE_RELAY_FETCH_EVENTS="100"):
        payments.insert_many([payment(number) for number in range(1000, 1500)])
        payments.update_many({"merchantId": "m1"}, {"$inc": {"amount": 3}})
        payments.delete_many({"merchantId": "m2"})
        changed = sum(number % 7 in (1, 2) for number in range(1500))
        events = topic.wait_events(1500 + changed)
    expected: Counter[tuple[int, str, str]] = Counter()
    amounts: Counter[tuple[int, str, str]] = Counter()
    for event in events:
        image = event["after"] or event["before"]
        key = (image["paidAt"] // 600_000 * 600_000, image["currency"], event["op"])
        expected[key] += 1
        amounts[key] += image["amount"]
    audit.poll()
    wait_until(lambda: (audit.poll(), sum(cell[0] for cell in _counts(audit).values()) == len(events))[1], 120, "all counts")
    assert _counts(audit) == {key: [count, amounts[key]] for key, count in expected.items()}
    assert min(key[0] for key in expected) == PAID_MS // 600_000 * 600_000


def _counts(audit: Topic) -> dict[Any, list[int]]:
    return total(message.value() or b"" for message in audit.messages)
