"""The form of change events, pinned by golden files: they outlive the process that writes them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from millrace_cdc.events import EventForm, marker
from millrace_contracts.values.bson_json import decode, key_text
from millrace_contracts.values.bson_json import encode as encode_image

GOLDEN = Path(__file__).parent / "golden"
FORM = EventForm("commerce", "payments")
TOKEN = "826B06E671000000012B0229296E04"


def utc(*parts: int) -> datetime:
    """A date as the driver decodes it: naive, in UTC."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc, arg-type]


def test_a_change_is_written_as_the_golden_file_says() -> None:
    after = {"_id": "p1", "amount": 1050, "paidAt": utc(2026, 3, 4, 5, 6, 7, 891000), "refunds": [], "user": {"key": "k"}}
    made = FORM.change("u", encode_image({"_id": "p1", "amount": 1000}), encode_image(after), TOKEN, 1795614322560)
    assert made + b"\n" == (GOLDEN / "change.json").read_bytes()


def test_a_snapshot_read_is_written_as_the_golden_file_says() -> None:
    made = FORM.read("r", encode_image({"_id": "p1", "amount": 1000}), (1795614311, 7), 1795614319327)
    assert made + b"\n" == (GOLDEN / "read.json").read_bytes()


def test_a_marker_is_written_as_the_golden_file_says() -> None:
    assert marker(1, 4, 1795614320999, 1795614322560) + b"\n" == (GOLDEN / "marker.json").read_bytes()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal128("1.50"), {"$numberDecimal": "1.50"}),
        (ObjectId("0123456789abcdef01234567"), {"$oid": "0123456789abcdef01234567"}),
        (b"\x01\x02", {"$binary": {"base64": "AQI=", "subType": "00"}}),
        (Binary(b"\x01", 5), {"$binary": {"base64": "AQ==", "subType": "05"}}),
        (Timestamp(7, 9), {"$timestamp": {"t": 7, "i": 9}}),
        (Regex("a.b", "i"), {"$regularExpression": {"pattern": "a.b", "options": "i"}}),
        (MinKey(), {"$minKey": 1}),
        (MaxKey(), {"$maxKey": 1}),
        (DBRef("c", 1), {"$ref": "c", "$id": 1}),
        (float("nan"), {"$numberDouble": "NaN"}),
        (float("inf"), {"$numberDouble": "Infinity"}),
        (float("-inf"), {"$numberDouble": "-Infinity"}),
        (Int64(2**63 - 1), 2**63 - 1),
        (1.5, 1.5),
        (True, True),
        (None, None),
        ("null", "null"),
        (utc(1969, 12, 31, 23, 59, 59, 999000), -1),
        (DatetimeMS(253402300800000), 253402300800000),
    ],
)
def test_every_bson_type_has_a_readable_form(value: Any, written: Any) -> None:
    assert json.loads(encode_image({"field": value, "list": [value], "deep": {"er": value}})) == {
        "field": written,
        "list": [written],
        "deep": {"er": written},
    }


def test_code_is_no_text() -> None:
    document = decode(bson.encode({"field": Code("f()"), "list": [Code("g()", {"x": Int64(1)})]}))
    assert json.loads(encode_image(document)) == {"field": {"$code": "f()"}, "list": [{"$code": "g()", "$scope": {"x": 1}}]}


@pytest.mark.parametrize(
    ("document_id", "key"),
    [
        ("p-1_ä", "p-1_ä".encode()),
        (7, b"7"),
        (Int64(2**40), b"1099511627776"),
        (ObjectId("0123456789abcdef01234567"), b"0123456789abcdef01234567"),
        (Binary.from_uuid(uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")), b"01234567-89ab-cdef-0123-456789abcdef"),
        (1.5, b"1.5"),
        (True, b"true"),
        ({"a": 1}, b'{"a":1}'),
        (utc(1970, 1, 1, 0, 0, 1), b"1000"),
    ],
)
def test_a_key_is_the_id_as_text(document_id: object, key: bytes) -> None:
    assert key_text(document_id) == key


@given(st.dictionaries(st.text(), st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(), st.floats(allow_nan=False, allow_infinity=False))))
def test_what_json_has_survives(document: dict[str, Any]) -> None:
    assert json.loads(encode_image(document)) == document
