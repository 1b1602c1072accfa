"""What is needed of a raw reply as a whole (its cursor, its token, where its documents lie), without making anything of the documents.

A ``RawBSONDocument`` would make one object for each of a reply's thousands of changes to get at the cursor's id (bsonspec.org).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import bson

_INT32, _INT64 = struct.Struct("<i"), struct.Struct("<q")
_DOUBLE, _STRING, _DOCUMENT, _ARRAY, _BINARY, _INTEGER, _LONG = 0x01, 0x02, 0x03, 0x04, 0x05, 0x10, 0x12
_FIXED = {_DOUBLE: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, _INTEGER: 4, 0x11: 8, _LONG: 8, 0x13: 16, 0xFF: 0, 0x7F: 0}
_PREFIX = {_STRING: 4, _BINARY: 5, 0x0D: 4, 0x0E: 4}
"""Types with their length in front, and how many bytes that length does not count."""


def elements(raw: bytes, start: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """(type, name, offset of the value) of each element of the document at ``start``.

    Raises:
        ValueError: a type that server replies do not have at this level (regular expressions, DBPointers).
    """
    end = start + _INT32.unpack_from(raw, start)[0] - 1
    at = start + 4
    while at < end:
        kind, stop = raw[at], raw.index(0, at + 1)
        name, at = raw[at + 1 : stop], stop + 1
        yield kind, name, at
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind in (_DOCUMENT, _ARRAY):
            at += int(_INT32.unpack_from(raw, at)[0])
        elif kind in _PREFIX:
            at += _PREFIX[kind] + int(_INT32.unpack_from(raw, at)[0])
        else:
            raise ValueError(f"BSON type 0x{kind:02x} in a reply's own fields")


@dataclass(frozen=True)
class Part:
    """Some documents of a reply that follow each other: where their elements lie in it, and the first byte of the last document."""

    start: int
    end: int
    count: int
    last: int


def cursor_of(raw: bytes) -> tuple[int, str]:
    """(cursor id, post-batch resume token or nothing) of a reply of aggregate, find or getMore.

    Raises:
        ValueError: it is no such reply.
    """
    number, token = 0, ""
    for kind, name, offset in elements(raw, _cursor(raw)):
        if name == b"id":
            number = int((_INT64 if kind == _LONG else _INT32).unpack_from(raw, offset)[0])
        elif name == b"postBatchResumeToken":
            token = _data(raw, offset)
    return number, token


def parts_of(raw: bytes, size: int) -> list[Part]:
    """The documents of a reply in parts of at least ``size`` bytes, the last one smaller; none of an empty reply.

    Raises:
        ValueError: it is no reply of a cursor.
    """
    at = next(offset for _, name, offset in elements(raw, _cursor(raw)) if name in (b"nextBatch", b"firstBatch"))
    end = at + _INT32.unpack_from(raw, at)[0] - 1
    position = start = at + 4
    count, last, parts = 0, 0, []
    # An element is its type, its index in decimal digits, a zero, and the document, which begins with its length.
    length, index = _INT32.unpack_from, raw.index
    while position < end:
        last = index(0, position + 1) + 1
        position = last + length(raw, last)[0]
        count += 1
        if position - start >= size or position >= end:
            parts.append(Part(start, position, count, last))
            start, count = position, 0
    return parts


def document_of(raw: bytes, part: Part) -> bytes:
    """A part as one document, whose values are the part's documents."""
    return _INT32.pack(part.end - part.start + 5) + raw[part.start : part.end] + b"\0"


def token_of(raw: bytes, at: int) -> str:
    """Resume token of the change whose document begins at an offset, readable whatever is broken in its images."""
    return _data(raw, next(offset for _, name, offset in elements(raw, at) if name == b"_id"))


def _cursor(raw: bytes) -> int:
    at = next((offset for kind, name, offset in elements(raw) if name == b"cursor" and kind == _DOCUMENT), None)
    if at is None:
        raise ValueError("the reply has no cursor")
    return at


def _data(raw: bytes, offset: int) -> str:
    size = int(_INT32.unpack_from(raw, offset)[0])
    return str(bson.decode(raw[offset : offset + size])["_data"])
