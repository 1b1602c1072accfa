"""From one raw reply of the change stream to a portion; pure but for the look-up of documents without an after-image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from millrace_cdc.deadletters import dead_letter, undecodable
from millrace_cdc.events import CODEC, OPS, EventForm, encode_image, key_text
from millrace_cdc.portions import Portion
from millrace_cdc.projection import CONTROLS
from millrace_cdc.tokens import position, through_ms
from millrace_contracts.changes import OP_UPDATE

Change = Mapping[str, Any]
Lookup = Callable[[Sequence[Any]], Mapping[bytes, Mapping[str, Any]]]
"""Ids -> the documents as they are now, by key text."""
HEADROOM = 1024
"""Bytes of a message that are not key or value: headers and the batch's own."""


@dataclass(frozen=True)
class Decoded:
    """A reply: its documents (changes, or what a find returned) and the raw BSON of those that can not be decoded."""

    documents: Sequence[Mapping[str, Any]]
    broken: list[bytes]
    token: str
    """Resume token after the reply; empty for a find."""


def decode(raw: bytes) -> Decoded:
    """Decode a reply of aggregate, find or getMore in one call; only if that fails, document by document."""
    try:
        cursor = bson.decode(raw, CODEC)["cursor"]
    except InvalidBSON:
        return _decode_each(raw)
    return Decoded(_batch(cursor), [], _token(cursor))


def _decode_each(raw: bytes) -> Decoded:
    cursor = RawBSONDocument(raw)["cursor"]
    good: list[dict[str, Any]] = []
    broken: list[bytes] = []
    for event in _batch(cursor):
        try:
            good.append(bson.decode(event.raw, CODEC))
        except InvalidBSON:
            broken.append(event.raw)
    return Decoded(good, broken, _token(cursor))


def _batch(cursor: Mapping[str, Any]) -> Any:
    return cursor["nextBatch"] if "nextBatch" in cursor else cursor["firstBatch"]


def _token(cursor: Mapping[str, Any]) -> str:
    return str(cursor["postBatchResumeToken"]["_data"]) if "postBatchResumeToken" in cursor else ""


class ReplyEncoder:
    """Makes portions of decoded replies. ``max_message_bytes`` is the broker's limit for one message."""

    def __init__(self, collection: str, form: EventForm, lookup: Lookup, max_message_bytes: int) -> None:
        self._collection = collection
        self._form = form
        self._lookup = lookup
        self._max = max_message_bytes - HEADROOM

    def portion(self, decoded: Decoded, now_ms: int) -> tuple[Portion, Change | None]:
        """The portion without its progress record, and the change of the whole collection (drop …) at which it ends, if any."""
        made = Portion(cluster_seconds=position(decoded.token)[0], through_ms=through_ms(decoded.token))
        made.dead_letters.extend(undecodable(self._collection, raw, now_ms) for raw in decoded.broken)
        found = self._missing(decoded.documents)
        for change in decoded.documents:
            if change["operationType"] in CONTROLS:
                return made, change
            self._add(made, change, found, now_ms)
        return made, None

    def _add(self, made: Portion, change: Change, found: Mapping[bytes, Mapping[str, Any]], now_ms: int) -> None:
        op = OPS[change["operationType"]]
        token = change["_id"]["_data"]
        key = key_text(change["documentKey"]["_id"])
        after = change.get("fullDocument")
        if after is None and op == OP_UPDATE:
            after = found.get(key)
            if after is None:
                reason = "fullDocument: no after-image was kept and the document is gone; its deletion follows in the stream"
                made.dead_letters.append(dead_letter(self._collection, token, reason, bson.encode(change), key, now_ms))
                return
        before = change.get("fullDocumentBeforeChange")
        try:
            value = self._form.change(op, b"null" if before is None else encode_image(before), encode_image(after), token, now_ms)
        except TypeError as error:
            reason = f"a value has no JSON form: {error}"
            made.dead_letters.append(dead_letter(self._collection, token, reason, bson.encode(change), key, now_ms))
            return
        if len(value) + len(key) > self._max:
            reason = f"the message has {len(value)} bytes, Kafka takes {self._max}; raise max.message.bytes of the topic"
            made.dead_letters.append(dead_letter(self._collection, token, reason, bson.encode(change), key, now_ms))
            return
        made.events.append((key, value))

    def _missing(self, changes: Iterable[Change]) -> Mapping[bytes, Mapping[str, Any]]:
        ids = [change["documentKey"]["_id"] for change in changes if change["operationType"] == "update" and "fullDocument" not in change]
        return self._lookup(ids) if ids else {}
