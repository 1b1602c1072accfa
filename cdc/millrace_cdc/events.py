"""Change events as bytes: pure functions from what MongoDB sends to what Kafka gets. The form is that of ``contracts.changes``.

BSON that JSON has: strings, integers, doubles, booleans, null, objects, arrays. Dates are epoch milliseconds. Every other BSON type is
written as MongoDB's canonical extended JSON (``{"$oid": …}``, ``{"$numberDecimal": …}``, and ``{"$numberDouble": "NaN"}``), so
that a reader refuses the field by its name and not the whole message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
from bson import DBRef, Int64, ObjectId, json_util
from bson.binary import UUID_SUBTYPE, Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

from millrace_cdc.tokens import position
from millrace_contracts import changes

OPS = {"insert": changes.OP_CREATE, "update": changes.OP_UPDATE, "replace": changes.OP_UPDATE, "delete": changes.OP_DELETE}
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
"""Dates outside the years 1 to 9999 decode as ``DatetimeMS`` instead of failing."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - BSON dates decode as naive UTC, which is faster than aware
_MILLISECOND = timedelta(milliseconds=1)


def encode_image(document: Mapping[str, Any] | None) -> bytes:
    """A document as JSON; ``null`` where there is none.

    Raises:
        TypeError: a value has no JSON form (orjson's error names its type).
    """
    data = orjson.dumps(document, default=_extended, option=orjson.OPT_PASSTHROUGH_DATETIME)
    # orjson writes NaN and the infinities as null; a search in C tells whether a second look is needed.
    if b"null" in data and document is not None:
        data = orjson.dumps(_finite(document), default=_extended, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return data


def _extended(value: object) -> object:
    if type(value) is datetime:
        return (value - _EPOCH) // _MILLISECOND
    if isinstance(value, DatetimeMS):
        return int(value)
    if isinstance(value, DBRef):
        return value.as_doc()
    return orjson.Fragment(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if type(value) is float and not math.isfinite(value):
        return {"$numberDouble": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    return value


def key_text(document_id: object) -> bytes:
    """A document's id as the message's key: text as it is, integers and ObjectIds as text, UUIDs in their usual form, the rest as JSON."""
    if type(document_id) is str:
        return document_id.encode()
    if type(document_id) in (int, Int64, ObjectId):
        return str(document_id).encode()
    if isinstance(document_id, Binary) and document_id.subtype == UUID_SUBTYPE:
        return str(document_id.as_uuid()).encode()
    return encode_image({"_id": document_id})[7:-1]


class EventForm:
    """Builds events of one collection; ``database`` and ``collection`` are written into each."""

    def __init__(self, database: str, collection: str) -> None:
        names = b'"db":%b,"collection":%b' % (orjson.dumps(database), orjson.dumps(collection))
        source = b'"source":{"connector":"millrace",%b,"ts_ms":%%d,"ord":%%d,' % names.replace(b"%", b"%%")
        self._change = b'{"op":"%b","before":%b,"after":%b,' + source + b'"token":"%b","snapshot":"false"},"ts_ms":%d}'
        self._read = b'{"op":"%b","before":null,"after":%b,' + source + b'"token":null,"snapshot":"true"},"ts_ms":%d}'

    def change(self, op: str, before: bytes, after: bytes, token: str, read_ms: int) -> bytes:
        """A change from the stream; its version is in the token (I5)."""
        seconds, ordinal = position(token)
        return self._change % (op.encode(), before, after, seconds * 1000, ordinal, token.encode(), read_ms)

    def read(self, op: str, after: bytes, at: tuple[int, int], read_ms: int) -> bytes:
        """A document as a snapshot saw it at cluster time ``at`` (op r), or its absence (op d)."""
        return self._read % (op.encode(), after, at[0] * 1000, at[1], read_ms)


def marker(stream: int, streams: int, through_ms: int, now_ms: int) -> bytes:
    """A low-water marker: all changes up to ``through_ms`` stand before it in its partition."""
    return orjson.dumps({"stream": stream, "streams": streams, "through_ms": through_ms, "ts_ms": now_ms})
