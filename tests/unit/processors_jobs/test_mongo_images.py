"""MongoDB's documents become the very bytes that the relay's snapshots write, whatever their values are (I6)."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import bson
import pytest
from bson import Code, Int64, ObjectId
from bson.binary import Binary
from bson.raw_bson import RawBSONDocument
from hypothesis import example, given
from hypothesis import strategies as st

from millrace_cdc.events import EventForm
from millrace_cdc.snapshot_source import ReadEncoder
from millrace_processors import mongo_images
from tests.support.bson_values import NAMES, OLD_TYPES, SCALARS, VALUES

AT = (1_764_000_000, 7)
IDS: list[Any] = ["pay-1", 5, Int64(2**40), ObjectId("0123456789abcdef01234567"), Binary.from_uuid(uuid.UUID(int=9)), {"a": 1}, 1.5, None]
FORM = EventForm("commerce", "payments")


def by_the_relay(raw: bytes) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """(events, reasons of dead letters) of a document that the relay's snapshot has read; all events as of the time 0."""
    batch = b"\x03" + b"0\x00" + raw
    cursor = bson.encode({"id": 0, "ns": "commerce.payments"})[4:-1] + b"\x04firstBatch\x00" + _document(batch)
    reply = _document(b"\x03cursor\x00" + _document(cursor))
    made, _ = ReadEncoder("commerce.payments", "payments", FORM, 10_000_000).portion(reply, AT, None)
    events = [(key or b"", re.sub(rb'"ts_ms":[0-9]+}$', b'"ts_ms":0}', value)) for key, value in made.events]
    return events, [json.loads(letter)["reason"] for _, letter in made.dead_letters]


def _document(body: bytes) -> bytes:
    return (len(body) + 5).to_bytes(4, "little") + body + b"\x00"


def by_us(raw: bytes) -> list[tuple[bytes, bytes]]:
    return mongo_images.events([RawBSONDocument(raw)], "commerce", AT, now_ms=0)


@given(st.dictionaries(NAMES, VALUES, max_size=4), SCALARS.filter(lambda value: not isinstance(value, Code)))
def test_the_bytes_of_a_document_of_any_values_are_those_of_the_relay(fields: dict[str, Any], identifier: Any) -> None:
    raw = bson.encode({"_id": identifier, **fields})
    events, reasons = by_the_relay(raw)
    assert (by_us(raw), reasons) == (events, [])


@pytest.mark.parametrize("identifier", IDS, ids=str)
def test_keys_are_those_of_the_relay(identifier: Any) -> None:
    raw = bson.encode({"_id": identifier, "points": {"used": float("nan"), "earned": float("inf")}})
    ((_, value),) = by_us(raw)
    assert (by_us(raw), []) == by_the_relay(raw)
    assert json.loads(value)["after"]["points"] == {"used": {"$numberDouble": "NaN"}, "earned": {"$numberDouble": "Infinity"}}


@pytest.mark.parametrize(("old", "written"), list(zip(OLD_TYPES, (None, "text", {"$ref": "collection", "$id": {}}), strict=True)))
def test_types_that_are_no_longer_written_have_one_form_too(old: bytes, written: Any) -> None:
    raw = _document(bson.encode({"_id": "p"})[4:-1] + old[4:-1])
    ((_, value),) = by_us(raw)
    found = json.loads(value)["after"]["field"]
    assert ({**found, "$id": {}} if isinstance(found, dict) else found) == written
    assert (by_us(raw), []) == by_the_relay(raw)


@given(st.text("ab", min_size=4, max_size=30), st.integers(0, 3))
@example("good", 0)
def test_a_document_that_can_not_be_decoded_keeps_its_key_and_is_refused_in_the_relays_words(text: str, at: int) -> None:
    raw = bson.encode({"_id": "p1", "note": {"text": text}}).replace(text.encode(), text.encode()[:at] + b"\xff" + text.encode()[at + 1 :])
    ((key, value),) = by_us(raw)
    found = json.loads(value)
    assert (key, found["op"], found["source"]["ts_ms"], found["source"]["ord"]) == (b"p1", "r", AT[0] * 1000, AT[1])
    assert ([], [found["after"]]) == by_the_relay(raw)
    assert found["after"].startswith("note.text: ")
