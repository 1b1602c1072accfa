"""Documents of MongoDB as change events of op r, byte for byte as the relay's snapshots write them (contracts/changes.py); pure."""

from __future__ import annotations

import time

import orjson
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from millrace_contracts.documents import PAYMENTS
from millrace_contracts.values import bson_json

Time = tuple[int, int]
"""A cluster time: seconds and ordinal."""
Event = tuple[bytes, bytes]
"""Key and value of a message."""


def events(documents: list[RawBSONDocument], database: str, at: Time, now_ms: int | None = None) -> list[Event]:
    """An event a document, as it was at a cluster time; one that can not be decoded has the reason in place of an image (I4)."""
    names = b'"db":%b,"collection":%b' % (orjson.dumps(database), orjson.dumps(PAYMENTS))
    version = b'"ts_ms":%d,"ord":%d' % (at[0] * 1000, at[1])
    source = b'{"connector":"millrace",%b,%b,"token":null,"snapshot":"true"}' % (names, version)
    rest = b',"source":%b,"ts_ms":%d}' % (source, time.time_ns() // 1_000_000 if now_ms is None else now_ms)
    return [(key, b'{"op":"r","before":null,"after":' + after + rest) for key, after in map(_encoded, documents)]


def _encoded(document: RawBSONDocument) -> tuple[bytes, bytes]:
    try:
        decoded = bson_json.decode(document.raw)
        return bson_json.key_text(decoded["_id"]), bson_json.encode(decoded)
    except InvalidBSON:
        found, reason = bson_json.broken(document.raw)
        return bson_json.key_text(found["_id"]) if found else b"", orjson.dumps(reason)
    except TypeError as error:
        return bson_json.key_text(document["_id"]), orjson.dumps(f"a value has no JSON form: {error}")
