"""The two values of a raw reply that fetching needs, found without making anything of the changes between them.

A ``RawBSONDocument`` would make one object for each of a reply's thousands of changes to get at the cursor's id (bsonspec.org).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

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


def cursor_of(raw: bytes) -> tuple[int, str]:
    """(cursor id, post-batch resume token or nothing) of a reply of aggregate, find or getMore.

    Raises:
        ValueError: it is no such reply.
    """
    at = next((offset for kind, name, offset in elements(raw) if name == b"cursor" and kind == _DOCUMENT), None)
    if at is None:
        raise ValueError("the reply has no cursor")
    number, token = 0, ""
    for kind, name, offset in elements(raw, at):
        if name == b"id":
            number = int((_INT64 if kind == _LONG else _INT32).unpack_from(raw, offset)[0])
        elif name == b"postBatchResumeToken":
            size = int(_INT32.unpack_from(raw, offset)[0])
            token = str(bson.decode(raw[offset : offset + size])["_data"])
    return number, token
