"""MongoDB's documents become the very bytes that the relay's snapshots write."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.binary import Binary
from bson.raw_bson import RawBSONDocument

from millrace_cdc.events import EventForm, encode_image, key_text
from millrace_processors import mongo_images

AT = (1_764_000_000, 7)
IDS: list[Any] = ["pay-1", 5, Int64(2**40), ObjectId("0123456789abcdef01234567"), Binary.from_uuid(uuid.UUID(int=9)), {"a": 1}, 1.5, None]


@pytest.mark.parametrize("identifier", IDS, ids=str)
def test_keys_and_images_are_those_of_the_relay(identifier: Any) -> None:
    made = {
        "_id": identifier, "amount": Int64(5), "paidAt": datetime(2026, 3, 1, 9, 30, 0, 123_000), "currency": "ÄÖ",  # noqa: DTZ001
        "price": Decimal128("1.50"), "refunds": [{"id": "r", "refundedAt": datetime(1960, 1, 1)}], "user": {"key": None}, "ok": True,  # noqa: DTZ001
    }  # fmt: skip
    ((key, value),) = mongo_images.events([RawBSONDocument(bson.encode(made))], "commerce", AT)
    decoded = bson.decode(bson.encode(made), mongo_images.CODEC)
    assert key == key_text(decoded["_id"])
    relays = EventForm("commerce", "payments").read("r", encode_image(decoded), AT, 0)
    ours, theirs = json.loads(value), json.loads(relays)
    assert ours.pop("ts_ms") > 0
    assert theirs.pop("ts_ms") == 0
    assert ours == theirs


def test_a_document_that_can_not_be_decoded_keeps_its_key_and_has_no_image() -> None:
    raw = bson.encode({"_id": "p1", "note": {"text": "good"}}).replace(b"good", b"\xff\xfe\xfd\xfc")
    ((key, value),) = mongo_images.events([RawBSONDocument(raw)], "commerce", AT)
    assert key == b"p1"
    found = json.loads(value)
    assert (found["op"], found["after"], found["source"]["ts_ms"], found["source"]["ord"]) == ("r", None, AT[0] * 1000, AT[1])
