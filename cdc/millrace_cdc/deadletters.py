"""Dead letters of the relay: a change that can not become an event goes here with its token, and the stream advances (I4)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import bson
import orjson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON

from millrace_cdc.events import key_text
from millrace_cdc.portions import Message
from millrace_contracts.deadletters import DeadLetter

MAX_PAYLOAD = 500_000
"""Bytes of BSON that a dead letter carries; a larger change is named by its token and key only."""
_LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


def dead_letter(collection: str, token: str | None, reason: str, payload: bytes, key: bytes | None, now_ms: int) -> Message:
    """Key and value of a dead letter."""
    if len(payload) > MAX_PAYLOAD:
        reason = f"{reason} (the {len(payload)} bytes of the change are not kept here; read the document by its id)"
        payload = b""
    letter: DeadLetter = {
        "stage": "relay",
        "reason": reason,
        "collection": collection,
        "at_ms": now_ms,
        "payload": base64.b64encode(payload).decode(),
    }
    if token is not None:
        letter["token"] = token
    return key, orjson.dumps(letter)


def undecodable(collection: str, raw: bytes, now_ms: int) -> Message:
    """The dead letter of a change, or of a document of a snapshot, whose BSON can not be decoded; the reason names the field."""
    try:
        document = bson.decode(raw, _LENIENT)
    except InvalidBSON as error:
        return dead_letter(collection, None, f"not valid BSON: {error}", raw, None, now_ms)
    found = next(_replaced("", document), "somewhere: text that is not UTF-8")
    if "documentKey" in document:
        return dead_letter(collection, document["_id"]["_data"], found, raw, key_text(document["documentKey"]["_id"]), now_ms)
    return dead_letter(collection, None, found, raw, key_text(document["_id"]), now_ms)


def _replaced(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _replaced(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _replaced(f"{path}.{index}", item)
    elif isinstance(value, str) and "�" in value:
        yield f"{path}: {value!r} is not UTF-8 text"
