"""What a resume token says by itself, without asking MongoDB.

``_data`` is a KeyString (MongoDB's src/mongo/db/storage/key_string.cpp and pipeline/resume_token.cpp, versions 1 and 2)::

    82 <seconds, 8 digits> <ordinal, 8 digits> 2B02 <token type: 29 none, 2C0100 an event> <operation in the transaction>
    6E (or 6F behind an invalidate) 5A1004 <UUID of the collection> 46 <document key: type, name 00, type, value> 00 04

A token without an event stands for a time: MongoDB hands it out when nothing of interest happened there.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from millrace_cdc.tokens import BadToken, position

_UUID = re.compile(r"(?:6E|6F)5A1004(?P<uuid>[0-9A-F]{32})46(?P<key>[0-9A-F]*)$")
_HEX = re.compile(r"82[0-9A-Fa-f]{16,}")
_ID = "5F69640000"[:8]
"""``_id`` and its terminating zero, between the type of the value (twice) in a document key."""
_POSITIVE = range(0x2B, 0x34)
_NEGATIVE = range(0x20, 0x29)


@dataclass(frozen=True)
class Decoded:
    """A token in parts. ``collection`` is the collection's UUID; it and ``key`` are None of a token that stands for a time."""

    seconds: int
    ordinal: int
    collection: uuid.UUID | None
    key: str | None
    """The document's id as text, "" where its type is not known here or its bytes are cut off."""

    @property
    def is_event(self) -> bool:
        """Whether the token is that of a change."""
        return self.collection is not None

    def words(self, namespace: str = "") -> str:
        """The token for a person; ``namespace`` names the collection, else its UUID does."""
        when = f"{instant(self.seconds)} (cluster time {self.seconds}.{self.ordinal})"
        if not self.is_event:
            return when
        return f"the change of {namespace or f'collection {self.collection}'} {self.key or '(an id of another type)'} at {when}"


def instant(seconds: int) -> str:
    """A cluster time's second for a person."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def decode(token: str) -> Decoded:
    """The parts of a token.

    Raises:
        BadToken: it is none; the message says what one looks like.
    """
    if not _HEX.fullmatch(token) or len(token) % 2:
        raise BadToken(f"{token[:40]!r} is not a resume token: it is hexadecimal and starts with 82 and 16 digits of cluster time")
    seconds, ordinal = position(token)
    found = _UUID.search(token.upper())
    if found is None:
        return Decoded(seconds, ordinal, None, None)
    try:
        key = _document_key(bytes.fromhex(found["key"]))
    except (ValueError, IndexError):
        key = ""
    return Decoded(seconds, ordinal, uuid.UUID(found["uuid"]), key)


def _document_key(data: bytes) -> str:
    """The value of ``_id`` in a document key; "" where it is of a type that is not read here."""
    name = data.find(bytes.fromhex(_ID))
    if name < 0:
        return ""
    return _value(data[name + len(_ID) // 2 :])


def _value(data: bytes) -> str:
    kind, rest = data[0], data[1:]
    if kind == 0x3C:
        return _text(rest)
    if kind == 0x64 and len(rest) >= 12:
        return rest[:12].hex()
    if kind == 0x5A and rest[:2] == b"\x10\x04":
        return str(uuid.UUID(bytes=rest[2:18]))
    if kind == 0x29:
        return "0"
    if kind in _POSITIVE:
        return _integer(rest[: kind - 0x2A])
    if kind in _NEGATIVE:
        return _integer(bytes(255 - byte for byte in rest[: 0x28 - kind]), "-")
    return ""


def _text(data: bytes) -> str:
    """A string: a zero byte ends it, unless FF follows, which stands for a zero in the string."""
    end = 0
    while (end := data.index(b"\x00", end)) + 1 < len(data) and data[end + 1] == 0xFF:
        end += 2
    return data[:end].replace(b"\x00\xff", b"\x00").decode(errors="replace")


def _integer(data: bytes, sign: str = "") -> str:
    number = int.from_bytes(data, "big")
    # The lowest bit says that a fraction follows, which no id of ours has.
    return "" if number & 1 else f"{sign}{number >> 1}"
