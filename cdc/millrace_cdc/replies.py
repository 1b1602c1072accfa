"""From a raw reply of the change stream to portions; pure but for the look-up of documents without an after-image."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from millrace_cdc.audit import count
from millrace_cdc.bson_walk import Part, cursor_of, document_of, parts_of, token_of
from millrace_cdc.deadletters import dead_letter, undecodable
from millrace_cdc.events import OPS, EventForm
from millrace_cdc.portions import Portion
from millrace_cdc.projection import CONTROLS
from millrace_cdc.tokens import position, through_ms
from millrace_contracts.values import bson_json

Change = Mapping[str, Any]
Lookup = Callable[[Sequence[Any]], Mapping[bytes, Mapping[str, Any]]]
"""Ids -> the documents as they are now, by key text."""
HEADROOM = 1024
"""Bytes of a message that are not key or value: headers and the batch's own."""
PART_BYTES = 64 * 1024
"""Of a reply so much is decoded, encoded and handed on at a time: its objects (ten times as large) then stay in the processor's cache."""


@dataclass(frozen=True)
class Decoded:
    """A reply: its documents (changes, or what a find returned) and the raw BSON of those that can not be decoded."""

    documents: Sequence[Mapping[str, Any]]
    broken: list[bytes]
    token: str
    """Resume token after them; empty for a find."""
    in_reply: int | None = None
    """Changes of the whole reply of which they are a part."""
    more: bool = False
    """Whether more of that reply follows."""


class Reply:
    """A reply of a change stream, decoded part by part; an empty one has one empty part."""

    def __init__(self, raw: bytes, part_bytes: int = PART_BYTES) -> None:
        self._raw = raw
        self._parts = deque(parts_of(raw, part_bytes))
        self.token = cursor_of(raw)[1]
        """Resume token after all of it."""
        self.count = sum(part.count for part in self._parts)
        """Changes in it."""

    @property
    def left(self) -> int:
        """Parts that were not taken."""
        return len(self._parts)

    def take(self) -> Decoded:
        """The next part, with the token after its own last change; the last part has the reply's."""
        if not self._parts:
            return Decoded([], [], self.token)
        part = self._parts.popleft()
        good, broken = self._decoded(part)
        more = bool(self._parts)
        return Decoded(good, broken, token_of(self._raw, part.last) if more else self.token, self.count, more)

    def _decoded(self, part: Part) -> tuple[list[dict[str, Any]], list[bytes]]:
        raw = document_of(self._raw, part)
        try:
            return list(bson_json.decode(raw).values()), []
        except InvalidBSON:
            return _each(RawBSONDocument(raw).values())


def decode(raw: bytes) -> Decoded:
    """Decode a whole reply of aggregate, find or getMore in one call; only if that fails, document by document."""
    try:
        cursor = bson_json.decode(raw)["cursor"]
        return Decoded(_batch(cursor), [], _token(cursor))
    except InvalidBSON:
        raw_cursor = RawBSONDocument(raw)["cursor"]
        return Decoded(*_each(_batch(raw_cursor)), _token(raw_cursor))


def _each(events: Iterable[RawBSONDocument]) -> tuple[list[dict[str, Any]], list[bytes]]:
    good: list[dict[str, Any]] = []
    broken: list[bytes] = []
    for event in events:
        try:
            good.append(bson_json.decode(event.raw))
        except InvalidBSON:
            broken.append(bytes(event.raw))
            good.extend(_without_before(event))
    return good, broken


def _without_before(event: RawBSONDocument) -> list[dict[str, Any]]:
    """A change whose before-image alone is broken goes on without it, beside its dead letter: its after-image may be the cure."""
    rest = {name: value for name, value in event.items() if name != "fullDocumentBeforeChange"}
    try:
        return [bson_json.decode(bson.encode(rest))] if len(rest) < len(event) else []
    except InvalidBSON:
        return []


def _batch(cursor: Mapping[str, Any]) -> Any:
    return cursor["nextBatch"] if "nextBatch" in cursor else cursor["firstBatch"]


def _token(cursor: Mapping[str, Any]) -> str:
    return str(cursor["postBatchResumeToken"]["_data"]) if "postBatchResumeToken" in cursor else ""


_GONE = "fullDocument: no after-image was kept and the document is gone; its deletion follows in the stream"
_RAISE = "raise max.message.bytes of the topic"


class ReplyEncoder:
    """Makes portions of decoded replies.

    ``max_message_bytes`` is the broker's limit for one message; ``already`` see ``progress.Position``.
    """

    def __init__(self, collection: str, form: EventForm, lookup: Lookup, max_message_bytes: int, already: Sequence[str] = ()) -> None:
        self._collection = collection
        self._form = form
        self._lookup = lookup
        self._max = max_message_bytes - HEADROOM
        self._already = already

    def portion(self, decoded: Decoded, now_ms: int) -> tuple[Portion, Change | None]:
        """The portion without its progress record, and the change of the whole collection (drop …) at which it ends, if any."""
        made = Portion(cluster_seconds=position(decoded.token)[0], through_ms=through_ms(decoded.token))
        made.dead_letters.extend(undecodable(self._collection, raw, now_ms) for raw in decoded.broken)
        found = self._missing(decoded.documents)
        for change in decoded.documents:
            what = change["operationType"]
            if what in CONTROLS:
                return made, change
            if self._already and change["_id"]["_data"] <= self._already[change["earlier"]]:
                continue  # an earlier topology's stream has written it
            token, key, after = change["_id"]["_data"], bson_json.key_text(change["documentKey"]["_id"]), change.get("fullDocument")
            if after is None and what == "update":
                after = found.get(key)
                if after is None:
                    self._refuse(made, change, key, _GONE, now_ms)
                    continue
            before = change.get("fullDocumentBeforeChange")
            if before is None and what == "delete" and not isinstance(change["documentKey"]["_id"], str):
                before = {"_id": change["documentKey"]["_id"]}  # its type: the key is text, and may be another document's
            try:
                before_json = b"null" if before is None else bson_json.encode(before)
                value = self._form.change(OPS[what], before_json, bson_json.encode(after), token, now_ms)
            except TypeError as error:
                self._refuse(made, change, key, f"a value has no JSON form: {error}", now_ms)
                continue
            if len(value) + len(key) > self._max:
                self._refuse(made, change, key, f"the message has {len(value)} bytes, Kafka takes {self._max}; {_RAISE}", now_ms)
                continue
            made.events.append((key, value))
            count(made.counts, OPS[what], after or before)
        return made, None

    def _refuse(self, made: Portion, change: Change, key: bytes, reason: str, now_ms: int) -> None:
        made.dead_letters.append(dead_letter(self._collection, change["_id"]["_data"], reason, bson.encode(change), key, now_ms))

    def _missing(self, changes: Iterable[Change]) -> Mapping[bytes, Mapping[str, Any]]:
        ids = [change["documentKey"]["_id"] for change in changes if change["operationType"] == "update" and "fullDocument" not in change]
        return self._lookup(ids) if ids else {}
