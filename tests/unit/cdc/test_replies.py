"""From raw replies to portions."""

from __future__ import annotations

import base64
import json
from typing import Any

import bson
import pytest
from bson import ObjectId

from millrace_cdc.events import EventForm
from millrace_cdc.replies import Decoded, Reply, ReplyEncoder, decode

TOKEN = "826B06E67{:1X}000000012B0229296E04"


def change(number: int, operation: str = "insert", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"_id": {"_data": TOKEN.format(number)}, "operationType": operation, "documentKey": {"_id": f"p{number}"}}
    if operation in ("insert", "replace"):
        made["fullDocument"] = {"_id": f"p{number}", "amount": number}
    return {**made, **more}


def reply(*changes: dict[str, Any], last: int = 15) -> bytes:
    cursor = {"nextBatch": list(changes), "id": 7, "ns": "commerce.payments", "postBatchResumeToken": {"_data": TOKEN.format(last)}}
    return bson.encode({"cursor": cursor, "ok": 1.0})


def encoder(found: dict[bytes, dict[str, Any]] | None = None, max_bytes: int = 1_000_000) -> ReplyEncoder:
    asked: list[Any] = []

    def lookup(ids: Any) -> dict[bytes, dict[str, Any]]:
        asked.extend(ids)
        return found or {}

    return ReplyEncoder("payments", EventForm("commerce", "payments"), lookup, max_bytes)


def values(messages: list[tuple[bytes | None, bytes]]) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in messages]


@pytest.mark.parametrize(("operation", "op"), [("insert", "c"), ("replace", "u")])
def test_an_operation_has_its_letter(operation: str, op: str) -> None:
    portion, control = encoder().portion(decode(reply(change(1, operation))), 5)
    (event,) = values(portion.events)
    assert (event["op"], event["after"], event["ts_ms"], control) == (op, {"_id": "p1", "amount": 1}, 5, None)


def test_a_delete_has_no_after() -> None:
    portion, _ = encoder().portion(decode(reply(change(1, "delete", fullDocumentBeforeChange={"_id": "p1", "amount": 3}))), 5)
    (event,) = values(portion.events)
    assert (event["op"], event["before"], event["after"]) == ("d", {"_id": "p1", "amount": 3}, None)


def test_a_delete_without_a_before_image_tells_an_id_that_is_no_text_by_its_type() -> None:
    changes = [change(n + 1, "delete", documentKey={"_id": each}) for n, each in enumerate([42, "42", ObjectId("0" * 24)])]
    portion, _ = encoder().portion(decode(reply(*changes)), 5)
    assert [key for key, _ in portion.events] == [b"42", b"42", b"0" * 24]
    assert [event["before"] for event in values(portion.events)] == [{"_id": 42}, None, {"_id": {"$oid": "0" * 24}}]
    assert portion.counts == {(None, None, "d"): [3, 0]}


def test_the_low_water_mark_is_the_second_before_the_replys_token() -> None:
    portion, _ = encoder().portion(decode(reply(last=3)), 5)
    assert (portion.through_ms, portion.count) == (0x6B06E673 * 1000 - 1, 0)


def test_an_update_without_image_takes_the_document_as_it_is_now() -> None:
    portion, _ = encoder({b"p1": {"_id": "p1", "amount": 9}}).portion(decode(reply(change(1, "update"))), 5)
    assert values(portion.events)[0]["after"] == {"_id": "p1", "amount": 9}


def test_an_update_without_image_of_a_document_that_is_gone_is_a_dead_letter() -> None:
    """I4."""
    portion, _ = encoder().portion(decode(reply(change(1, "update"))), 5)
    (letter,) = values(portion.dead_letters)
    assert (portion.events, letter["token"]) == ([], TOKEN.format(1))
    assert letter["reason"].startswith("fullDocument: ")


def test_one_broken_document_does_not_take_its_neighbours_along() -> None:
    """I4."""
    raw = reply(change(1), change(2, fullDocument={"_id": "p2", "currency": "USD?"}), change(3)).replace(b"USD?", b"US\xff\xfe")
    portion, _ = encoder().portion(decode(raw), 5)
    assert [key for key, _ in portion.events] == [b"p1", b"p3"]
    ((key, value),) = portion.dead_letters
    letter = json.loads(value)
    assert (key, letter["stage"], letter["collection"], letter["token"]) == (b"p2", "relay", "payments", TOKEN.format(2))
    assert letter["reason"] == "fullDocument.currency: 'US��' is not UTF-8 text"
    assert b"US\xff\xfe" in base64.b64decode(letter["payload"])


def test_a_broken_before_image_does_not_hold_back_its_cure() -> None:
    """I4: the change goes on without the before-image, the dead letter names it."""
    cure = change(2, "replace", fullDocument={"_id": "p2", "currency": "USD"}, fullDocumentBeforeChange={"_id": "p2", "currency": "USD?"})
    portion, _ = encoder().portion(decode(reply(change(1), cure).replace(b"USD?", b"US\xff\xfe")), 5)
    assert [(event["op"], event["before"]) for event in values(portion.events)] == [("c", None), ("u", None)]
    assert values(portion.dead_letters)[0]["reason"].startswith("fullDocumentBeforeChange.currency: ")


def test_a_message_over_the_limit_is_a_dead_letter_with_its_key() -> None:
    portion, _ = encoder(max_bytes=2048).portion(decode(reply(change(1, fullDocument={"_id": "p1", "text": "x" * 3000}), change(2))), 5)
    assert [key for key, _ in portion.events] == [b"p2"]
    assert portion.dead_letters[0][0] == b"p1"
    assert "raise max.message.bytes" in values(portion.dead_letters)[0]["reason"]


@pytest.mark.parametrize("what", ["drop", "rename", "dropDatabase", "invalidate"])
def test_a_change_of_the_whole_collection_ends_the_portion(what: str) -> None:
    end = {"_id": {"_data": TOKEN.format(2)}, "operationType": what}
    portion, control = encoder().portion(decode(reply(change(1), end, change(3))), 5)
    assert [key for key, _ in portion.events] == [b"p1"]
    assert control is not None
    assert control["operationType"] == what


def parts(raw: bytes, part_bytes: int) -> list[Decoded]:
    given = Reply(raw, part_bytes)
    taken = [given.take()]
    while given.left:
        taken.append(given.take())
    return taken


@pytest.mark.parametrize("part_bytes", [1, 200, 100_000])
def test_a_reply_in_parts_is_the_reply(part_bytes: int) -> None:
    raw = reply(*(change(number) for number in range(10)))
    assert [each["_id"] for part in parts(raw, part_bytes) for each in part.documents] == [each["_id"] for each in decode(raw).documents]
    assert Reply(raw, part_bytes).count == 10


def test_a_part_goes_as_far_as_its_own_last_change_and_the_last_part_as_far_as_the_reply() -> None:
    """I2: what is committed after a part is neither read again nor left out."""
    found = parts(reply(change(1), change(2), change(3), last=9), 1)
    assert [part.token for part in found] == [TOKEN.format(1), TOKEN.format(2), TOKEN.format(9)]


def test_a_part_that_ends_in_a_broken_change_goes_past_it() -> None:
    """I4."""
    raw = reply(change(1), change(2, fullDocument={"currency": "USD?"}), change(3)).replace(b"USD?", b"US\xff\xfe")
    found = parts(raw, 1)
    assert [(len(part.documents), len(part.broken)) for part in found] == [(1, 0), (0, 1), (1, 0)]
    assert found[1].token == TOKEN.format(2)


def test_a_reply_without_changes_has_one_part_with_its_token() -> None:
    assert parts(reply(last=4), 1) == [Decoded([], [], TOKEN.format(4))]


def test_a_part_says_of_what_reply_it_is_and_whether_more_follows() -> None:
    found = parts(reply(change(1), change(2)), 1)
    assert [(part.in_reply, part.more) for part in found] == [(2, True), (2, False)]
