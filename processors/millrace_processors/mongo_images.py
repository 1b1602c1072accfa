"""Documents of MongoDB as change events of op r, as the relay's snapshots write them (contracts/changes.py); pure.

Dates are epoch milliseconds; a BSON type that JSON lacks is canonical extended JSON, so that the decoder refuses the field by its name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import bson
import orjson
from bson import Int64, ObjectId, json_util
from bson.binary import UUID_SUBTYPE, Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from millrace_contracts.documents import PAYMENTS

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
"""Dates outside the years 1 to 9999 decode as ``DatetimeMS`` instead of failing."""
Time = tuple[int, int]
"""A cluster time: seconds and ordinal."""
Event = tuple[bytes, bytes]
"""Key and value of a message."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - BSON dates decode as naive UTC
_MILLISECOND = timedelta(milliseconds=1)


def events(documents: list[RawBSONDocument], database: str, at: Time) -> list[Event]:
    """An event a document, as it was at a cluster time; one that can not be decoded has no image, a reason to refuse it (I4)."""
    now_ms = time.time_ns() // 1_000_000
    source = {"connector": "millrace", "db": database, "collection": PAYMENTS, "ts_ms": at[0] * 1000, "ord": at[1]}
    told = orjson.dumps({**source, "token": None, "snapshot": "true"})
    rest = b',"source":' + told + b',"ts_ms":%d}' % now_ms
    return [(key, b'{"op":"r","before":null,"after":' + after + rest) for key, after in map(_encoded, documents)]


def _encoded(document: RawBSONDocument) -> tuple[bytes, bytes]:
    try:
        decoded = bson.decode(document.raw, CODEC)
        return key_text(decoded["_id"]), image(decoded)
    except (InvalidBSON, TypeError):
        return key_text(document["_id"]), b"null"


def image(document: Mapping[str, Any]) -> bytes:
    """A document as JSON.

    Raises:
        TypeError: a value has no JSON form.
    """
    return orjson.dumps(document, default=_extended, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _extended(value: object) -> object:
    if type(value) is datetime:
        return (value - _EPOCH) // _MILLISECOND
    if isinstance(value, DatetimeMS):
        return int(value)
    return orjson.Fragment(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS))


def key_text(document_id: object) -> bytes:
    """A document's id as the relay makes it a message's key."""
    if type(document_id) is str:
        return document_id.encode()
    if type(document_id) in (int, Int64, ObjectId):
        return str(document_id).encode()
    if isinstance(document_id, Binary) and document_id.subtype == UUID_SUBTYPE:
        return str(document_id.as_uuid()).encode()
    return image({"_id": document_id})[7:-1]
