"""Documents of MongoDB as JSON: the one form that change events have, whoever reads the document (I6). For tiers that have ``bson``.

BSON that JSON has: strings, integers, doubles, booleans, null, objects, arrays. Dates are epoch milliseconds. Every other BSON type is
written as MongoDB's canonical extended JSON (``{"$oid": …}``, ``{"$numberDecimal": …}``, and ``{"$numberDouble": "NaN"}``), so
that a reader refuses the field by its name and not the whole message. Symbols are text: MongoDB takes them for equal to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import bson
import orjson
from bson import Code, DBRef, Int64, ObjectId, json_util
from bson.binary import UUID_SUBTYPE, Binary
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.datetime_ms import DatetimeMS
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument


class _CodeDecoder(TypeDecoder):
    """Code is a kind of ``str`` to Python, and would be written as text."""

    bson_type = Code

    def transform_bson(self, value: Any) -> Any:
        """Extended JSON of it."""
        return {"$code": str(value)} if value.scope is None else {"$code": str(value), "$scope": dict(value.scope)}


_WITHOUT_CODE: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
"""Dates outside the years 1 to 9999 decode as ``DatetimeMS`` instead of failing."""
CODEC = _WITHOUT_CODE.with_options(type_registry=TypeRegistry([_CodeDecoder()]))
"""What a client decodes documents with; a third slower than without code."""
RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument, unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""Of documents that stay BSON: a look at one field decodes its neighbours too, whatever they are."""
_LENIENT = _WITHOUT_CODE.with_options(unicode_decode_error_handler="replace")
_CODE = tuple(re.compile(kind + rb"[^\x00]*\x00.{3}[\x00\x01]", re.DOTALL) for kind in (rb"\x0d", rb"\x0f"))
"""What every BSON has that holds code, without or with a scope: type, name, and a length below 32 MB. Seldom anything else.

Two expressions, since each begins with a byte that is searched for in C.
"""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - BSON dates decode as naive UTC, which is faster than aware
_MILLISECOND = timedelta(milliseconds=1)


def decode(raw: bytes | memoryview) -> dict[str, Any]:
    """A document out of its BSON.

    Raises:
        InvalidBSON: it is none, or a text is not UTF-8.
    """
    return bson.decode(raw, CODEC if any(kind.search(raw) for kind in _CODE) else _WITHOUT_CODE)


def encode(document: Mapping[str, Any] | None) -> bytes:
    """A decoded document as JSON; ``null`` where there is none.

    Raises:
        TypeError: a value has no JSON form (orjson's error names its type).
    """
    data = orjson.dumps(document, default=_extended, option=orjson.OPT_PASSTHROUGH_DATETIME)
    # orjson writes NaN and the infinities as null; a search in C tells whether a second look is needed.
    if b"null" in data and document is not None:
        data = orjson.dumps(_finite(document), default=_extended, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return data


def as_ms(value: datetime | DatetimeMS) -> int:
    """A decoded date as epoch milliseconds."""
    return (value - _EPOCH) // _MILLISECOND if isinstance(value, datetime) else int(value)


def _extended(value: object) -> object:
    if isinstance(value, datetime | DatetimeMS):
        return as_ms(value)
    if isinstance(value, DBRef):
        return _finite(value.as_doc())
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
    """A document's id as a message's key: text as it is, integers and ObjectIds as text, UUIDs in their usual form, the rest as JSON."""
    if type(document_id) is str:
        return document_id.encode()
    if type(document_id) in (int, Int64, ObjectId):
        return str(document_id).encode()
    if isinstance(document_id, Binary) and document_id.subtype == UUID_SUBTYPE:
        return str(document_id.as_uuid()).encode()
    return encode({"_id": document_id})[7:-1]


def broken(raw: bytes | memoryview) -> tuple[dict[str, Any] | None, str]:
    """What can be read of BSON that ``decode`` refuses, if anything, and why that is: the field whose text is not UTF-8."""
    try:
        document = bson.decode(raw, _LENIENT)
    except InvalidBSON as error:
        return None, f"not valid BSON: {error}"
    return document, next(_replaced("", document), "somewhere: text that is not UTF-8")


def _replaced(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _replaced(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _replaced(f"{path}.{index}", item)
    elif isinstance(value, str) and "\ufffd" in value:
        yield f"{path}: {value!r} is not UTF-8 text"
