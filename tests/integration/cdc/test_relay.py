"""The relay's process between a real mongod and a real Kafka: what goes in comes out, exactly once (I2, I3, I4, I12)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import bson
import httpx
import pytest
from bson import Decimal128, Int64
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from millrace_cdc.progress import read_records
from millrace_contracts.settings import KafkaSettings
from tests.integration.cdc.capture import PAID_MS, RelayProcess, Topic, payment
from tests.integration.cdc_replay.conftest import records as committed
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Payments = Collection[dict[str, Any]]
MakeRelay = Callable[..., RelayProcess]
Read = Callable[[str], Topic]


def progress(environ: dict[str, str]) -> dict[str, dict[str, Any]]:
    return read_records(KafkaSettings.load(environ), f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.relay.progress", 120)


def own_position(environ: dict[str, str]) -> dict[str, Any]:
    return progress(environ)[f"{environ['MILLRACE_NAMES_DATABASE']}.payments/stream/0"]


def test_what_was_there_before_comes_as_reads_and_what_follows_as_changes(payments: Payments, relay: MakeRelay, read: Read) -> None:
    payments.insert_one(payment(1))
    with relay():
        payments.insert_one(payment(2))
        payments.update_one({"_id": "p000002"}, {"$push": {"refunds": {"id": "r1", "amount": 7, "refundedAt": payment(9)["paidAt"]}}})
        payments.delete_one({"_id": "p000001"})
        first, *others = sorted(read("payments").wait_events(4), key=lambda event: (event["source"]["ts_ms"], event["source"]["ord"]))
    captured = {
        "_id": "p000001",
        "merchantId": "m1",
        "user": {
            "key": "0" * 21 + "1",
            "birthYear": 1980,
            "gender": "female",
            "country": "US",
            "grade": "gold",
            "device": {"type": "mobile"},
        },
        "amount": 101,
        "currency": "USD",
        "method": "card",
        "points": {"used": 1, "earned": 2},
        "status": "succeeded",
        "paidAt": PAID_MS + 1000,
        "refunds": [],
        "schemaVersion": 1,
    }
    assert (first["op"], first["before"], first["after"]) == ("r", None, captured)
    assert (first["source"]["snapshot"], first["source"]["token"]) == ("true", None)
    assert [event["op"] for event in others] == ["c", "u", "d"]
    created, updated, deleted = others
    assert created["after"] == {**captured, "_id": "p000002", "merchantId": "m2", "amount": 102, "paidAt": PAID_MS + 2000} | {
        "user": {**captured["user"], "key": "0" * 21 + "2"}  # type: ignore[dict-item]
    }
    assert updated["before"] == created["after"]
    assert updated["after"] == {**created["after"], "refunds": [{"id": "r1", "amount": 7, "refundedAt": PAID_MS + 9000}]}
    assert (deleted["after"], deleted["before"]) == (None, captured)
    assert [event["source"]["token"] for event in others] == sorted(event["source"]["token"] for event in others)


def test_the_version_of_an_event_is_its_cluster_time(payments: Payments, relay: MakeRelay, read: Read) -> None:  # I5
    with relay(), payments.watch() as stream:
        payments.insert_many([payment(number) for number in range(50)])
        expected = {change["documentKey"]["_id"]: change for change in (stream.next() for _ in range(50))}
        for event in read("payments").wait_events(50):
            change = expected[event["after"]["_id"]]
            assert (event["source"]["ts_ms"], event["source"]["ord"]) == (change["clusterTime"].time * 1000, change["clusterTime"].inc)
            # The tokens are equal: neither the projection nor the session changes them.
            assert event["source"]["token"] == change["_id"]["_data"]


def test_no_sensitive_field_leaves_mongodb(payments: Payments, relay: MakeRelay, read: Read) -> None:
    """I12: also where a validator was bypassed and sensitive fields stand beside the captured ones."""
    sneaked = {**payment(1), "email": "jane@example.com", "user": {**payment(1)["user"], "dateOfBirth": "1980-01-01", "name": "Jane"}}
    payments.database.command({"insert": "payments", "documents": [sneaked], "bypassDocumentValidation": True})
    with relay():
        payments.database.command(
            {"insert": "payments", "documents": [{**sneaked, "_id": "p2"}], "bypassDocumentValidation": True},
        )
        payments.database.command(
            {"update": "payments", "updates": [{"q": {"_id": "p2"}, "u": {"$set": {"amount": 5}}}], "bypassDocumentValidation": True}
        )
        topic = read("payments")
        topic.wait_events(3)
    text = b"".join(message.value() or b"" for message in topic.messages).decode()
    for secret in ("jane", "Jane", "1980-01-01", "raw-user", "android", "email", "dateOfBirth"):
        assert secret not in text


def test_keys_partitions_and_headers_are_those_of_the_contract(payments: Payments, relay: MakeRelay, read: Read) -> None:  # I3
    with relay():
        payments.insert_many([payment(number) for number in range(200)])
        payments.update_many({}, {"$set": {"status": "failed"}})
        topic = read("payments")
        topic.wait_events(400)
    partitions: dict[bytes, set[int]] = {}
    for message in topic.messages:
        if message.key():
            partitions.setdefault(message.key() or b"", set()).add(message.partition() or 0)
            assert dict(message.headers() or []) == {
                "content-type": b"application/json",
                "schema-version": b"1",
                "millrace-kind": b"change",
            }
    assert set(partitions) == {f"p{number:06d}".encode() for number in range(200)}
    assert {len(found) for found in partitions.values()} == {1}
    # As Java's default partitioner computes it.
    assert {key: found.pop() for key, found in partitions.items()} == {key: _java_partition(key, 4) for key in partitions}


def _java_partition(key: bytes, partitions: int) -> int:
    """org.apache.kafka.common.utils.Utils.murmur2, written from its published description."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) - len(key) % 4
    for start in range(0, whole, 4):
        k = int.from_bytes(key[start : start + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


def test_a_restart_goes_on_without_loss_or_repetition(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:  # I2
    topic = read("payments")
    with relay() as first:
        payments.insert_many([payment(number) for number in range(100)])
        topic.wait_events(100)
        assert first.stop() == 0, first.log
    payments.insert_many([payment(number) for number in range(100, 200)])
    with relay() as second:
        topic.wait_events(200)
        payments.insert_many([payment(number) for number in range(200, 300)])
        events = topic.wait_events(300)
        assert second.stop() == 0, second.log
    assert sorted(event["after"]["_id"] for event in events) == [f"p{number:06d}" for number in range(300)]


def test_the_token_is_committed_with_the_events_that_it_covers(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:  # I2
    with relay() as running:
        payments.insert_many([payment(number) for number in range(500)])
        newest = max(event["source"]["token"] for event in read("payments").wait_events(500))
        running.kill()
    position = own_position(environ)
    assert position["token"] >= newest
    with payments.watch(resume_after={"_data": position["token"]}, max_await_time_ms=200) as stream:
        assert stream.try_next() is None
        payments.insert_one(payment(501))
        change = stream.next()
    assert change["documentKey"]["_id"] == "p000501"


def test_a_kill_in_mid_drain_repeats_nothing_and_loses_nothing(
    environ: dict[str, str], payments: Payments, relay: MakeRelay, read: Read
) -> None:  # I2, I3
    topic = read("payments")
    small = {"MILLRACE_RELAY_TRANSACTION_EVENTS": "50", "MILLRACE_RELAY_FETCH_EVENTS": "50"}
    with relay(**small) as first:
        first.wait_streaming()  # a position is committed, and the snapshot of nothing done
    written, killed_in_the_middle = 0, 0
    while killed_in_the_middle < 3:
        # A kill that comes late, when all is captured, was none in the middle: another one follows more changes.
        for start in range(written, written + 6_000, 1000):
            payments.insert_many([payment(number) for number in range(start, start + 1000)])
        payments.update_many({"_id": {"$gte": f"p{written:06d}"}}, {"$inc": {"amount": 1_000_000}})
        written += 6_000
        with relay(**small) as running:
            wait_until(lambda: running.metric("events_total") > 1_000, 120, "events flow")
            running.kill()
        killed_in_the_middle += len(committed(environ, topic.name)) < 2 * written
    with relay():
        events = topic.wait_events(2 * written)
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        found.setdefault(event["after"]["_id"], []).append(event)
    assert len(found) == written
    for key, history in found.items():
        number = int(key[1:])
        assert [event["after"]["amount"] for event in history] == [100 + number, 1_000_100 + number]


def test_a_second_relay_fences_the_first(payments: Payments, relay: MakeRelay, read: Read) -> None:  # I3
    with relay() as first, relay():
        payments.insert_many([payment(number) for number in range(100)])
        assert first.process.wait(120) == 4, first.log
        assert "another relay has taken over" in first.log
        read("payments").wait_events(100)


def test_an_undecodable_change_becomes_a_dead_letter_and_the_stream_goes_on(payments: Payments, relay: MakeRelay, read: Read) -> None:  # I4
    good = bson.encode(payment(2))
    broken = good.replace(b"gold\x00", b"\xff\xfeld\x00")
    assert len(broken) == len(good)
    with relay() as running:
        raw = payments.with_options(codec_options=bson.CodecOptions(document_class=RawBSONDocument))
        raw.insert_many([RawBSONDocument(bson.encode(payment(1))), RawBSONDocument(broken), RawBSONDocument(bson.encode(payment(3)))])
        events = read("payments").wait_events(2)
        # Counted once the transaction is committed, hence maybe after its events are seen.
        wait_until(lambda: running.metric("dead_letters_total") == 1, 60, "the dead letter is counted")
    assert sorted(event["after"]["_id"] for event in events) == ["p000001", "p000003"]
    (message,) = _all(read("dead-letters"), 1)
    letter = json.loads(message.value() or b"")
    assert message.key() == b"p000002"
    assert (letter["stage"], letter["collection"]) == ("relay", "payments")
    assert letter["reason"].startswith("fullDocument.user.grade: ")
    assert "is not UTF-8" in letter["reason"]
    assert letter["token"].startswith("82")
    assert b"\xff\xfeld" in base64.b64decode(letter["payload"])


def _all(topic: Topic, count: int) -> list[Any]:
    def enough() -> bool:
        topic.poll()
        return len(topic.messages) >= count

    wait_until(enough, 120, f"{count} messages")
    return topic.messages


def test_types_that_json_has_not_keep_their_value_and_name(payments: Payments, relay: MakeRelay, read: Read) -> None:
    odd = payment(1, amount=Decimal128("12.50"), status=float("nan"), method=bson.ObjectId("0123456789abcdef01234567"))
    odd["points"] = {"used": Int64(9_007_199_254_740_993), "earned": 1.5}
    with relay():
        payments.database.command({"insert": "payments", "documents": [odd], "bypassDocumentValidation": True})
        (event,) = read("payments").wait_events(1)
    after = event["after"]
    assert after["amount"] == {"$numberDecimal": "12.50"}
    assert after["status"] == {"$numberDouble": "NaN"}
    assert after["method"] == {"$oid": "0123456789abcdef01234567"}
    assert after["points"] == {"used": 9_007_199_254_740_993, "earned": 1.5}


def test_every_partition_gets_a_marker_behind_all_that_it_covers(payments: Payments, relay: MakeRelay, read: Read) -> None:
    topic = read("payments")
    with relay():
        payments.insert_many([payment(number) for number in range(300)])
        newest = max(event["source"]["ts_ms"] for event in topic.wait_events(300))

        def covered() -> bool:
            topic.poll()
            marks = topic.markers
            return len(marks) == topic.partitions and all(mark[-1]["through_ms"] >= newest for mark in marks.values())

        # An idle stream advances with the server's own no-op.
        wait_until(covered, 120, "markers past the newest event in every partition")
    low: dict[int, int] = {}
    for message in topic.messages:
        value, partition = json.loads(message.value() or b""), message.partition() or 0
        if message.key() is None:
            assert value["through_ms"] % 1000 == 999
            assert value["through_ms"] >= low.get(partition, 0)
            assert (value["stream"], value["streams"]) == (0, 1)
            assert dict(message.headers() or [])["millrace-kind"] == b"low-water"
            low[partition] = value["through_ms"]
        else:
            assert value["source"]["ts_ms"] > low.get(partition, 0)


def test_an_update_whose_image_is_gone_is_looked_up(payments: Payments, relay: MakeRelay, read: Read) -> None:
    payments.database.command({"collMod": "payments", "changeStreamPreAndPostImages": {"enabled": False}})
    with relay() as running:
        # One that dies before its first transaction leaves no position: the next one would begin with a snapshot.
        running.wait_streaming()
    payments.insert_many([payment(1), payment(2)])
    payments.update_many({}, {"$set": {"amount": 7}})
    payments.delete_one({"_id": "p000002"})
    assert running.process.poll() is not None
    with relay() as second:
        events = read("payments").wait_events(4)
        wait_until(lambda: second.metric("dead_letters_total") == 1, 120, "the update of the deleted document is a dead letter")
    assert sorted((event["op"], event["source"]["ord"] >= 0) for event in events) == [("c", True), ("c", True), ("d", True), ("u", True)]
    (update,) = [event for event in events if event["op"] == "u"]
    assert (update["after"]["_id"], update["after"]["amount"], update["before"]) == ("p000001", 7, None)


def test_a_message_over_the_brokers_limit_becomes_a_dead_letter(payments: Payments, relay: MakeRelay, read: Read) -> None:
    huge = payment(1, merchantId="m" * 5_000_000)
    with relay():
        payments.database.command({"insert": "payments", "documents": [huge, payment(2)], "bypassDocumentValidation": True})
        (event,) = read("payments").wait_events(1)
    assert event["after"]["_id"] == "p000002"
    (message,) = _all(read("dead-letters"), 1)
    letter = json.loads(message.value() or b"")
    assert message.key() == b"p000001"
    assert "max.message.bytes" in letter["reason"]
    assert letter["token"].startswith("82")
    assert letter["payload"] == ""


def test_health_and_readiness_tell_the_phase(payments: Payments, relay: MakeRelay) -> None:
    with relay() as running:
        assert httpx.get(f"{running.ops}/health", timeout=60).status_code == 200
        wait_until(lambda: running.state()["phase"] == "streaming", 60, "the snapshot of nothing is done")
        assert running.state()["ready"] is True
        wait_until(lambda: running.metric("lag_seconds") == 0, 60, "nothing waits")


def test_a_missing_topic_is_one_line_with_the_fix(environ: dict[str, str], relay: MakeRelay) -> None:
    running = relay(MILLRACE_NAMES_TOPIC_PREFIX="nowhere").start()
    assert running.process.wait(120) == 2
    assert "run `millrace topics apply` first" in running.log
    assert "Traceback" not in running.log
