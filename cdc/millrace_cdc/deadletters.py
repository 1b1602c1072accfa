"""Dead letters of the relay: a change that can not become an event goes here with its token, and the stream advances (I4)."""

from __future__ import annotations

import base64

import orjson

from millrace_cdc.portions import Message
from millrace_contracts.deadletters import DeadLetter
from millrace_contracts.values.bson_json import broken, key_text

MAX_PAYLOAD = 500_000
"""Bytes of BSON that a dead letter carries; a larger change is named by its token and key only."""


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
    document, found = broken(raw)
    if document is None:
        return dead_letter(collection, None, found, raw, None, now_ms)
    if "documentKey" in document:
        return dead_letter(collection, document["_id"]["_data"], found, raw, key_text(document["documentKey"]["_id"]), now_ms)
    return dead_letter(collection, None, found, raw, key_text(document["_id"]), now_ms)
