"""JSON from outside: UTF-8, with or without a byte order mark, no name twice in one object (RFC 8259, 8.1; RFC 7493, 2.3)."""

from __future__ import annotations

import json
from typing import Any

import orjson

MARK = b"\xef\xbb\xbf"
"""The byte order mark in UTF-8, U+FEFF, which some tools write at the beginning of a file."""
DEEPEST = 254
"""Levels of arrays and objects, as far as orjson writes."""
_SHOWN = 60
_GZIP = b"\x1f\x8b"


class JsonError(ValueError):
    """The text is not JSON that is taken. ``field`` is the path of a name that is given twice, None of any other fault."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def loads(text: bytes | str, what: str = "the body") -> Any:
    """The value of a JSON text. ``what`` begins the error: a name such as ``variables``.

    Raises:
        JsonError: it is not JSON, not UTF-8, nests too deep, or gives a name twice.
    """
    return _read(without_mark(text), what)


def checked(text: bytes, what: str = "the body") -> bytes:
    """The text without its byte order mark, for a parser that would not see a name that is given twice.

    Raises:
        JsonError: as ``loads``.
    """
    text = without_mark(text)
    _read(text, what)
    return text


def without_mark(text: bytes | str) -> bytes:
    """The text in UTF-8 without a byte order mark at its beginning."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return data[3:] if data[:3] == MARK else data


def _read(data: bytes, what: str) -> Any:
    try:
        found = orjson.loads(data)
        # The parser keeps the last of equal names. Each name that it dropped took a colon along, so that what is left, written again,
        # has fewer of them: half the time of a parser that hands out pairs. An escaped colon (\u003a) could make up for one.
        if orjson.dumps(found).count(b":") == data.count(b":") and b"\\u003" not in data:
            return found
    except orjson.JSONDecodeError as error:
        raise JsonError(f"{what} {_fault(data, error)}") from None
    except orjson.JSONEncodeError:
        raise JsonError(f"{what} nests deeper than {DEEPEST} levels") from None
    doubled = _doubled(json.loads(data, object_pairs_hook=_Members))
    if doubled is not None:
        path = ".".join(doubled)
        shown = path if len(path) <= _SHOWN else path[:_SHOWN] + "…"
        raise JsonError(f"{shown} is given twice", shown)
    return found


def _fault(data: bytes, error: ValueError) -> str:
    encoding = json.detect_encoding(data)
    if not encoding.startswith("utf-8"):
        return f"is {encoding[:6].upper()}; send UTF-8"
    if data[:2] == _GZIP:
        return "is compressed; send it as it is"
    try:
        data.decode()
    except UnicodeDecodeError as place:
        return f"is not UTF-8 (byte {place.start})"
    return f"is not JSON: {error}"


class _Members(list[tuple[str, Any]]):
    """The members of an object in their order."""


def _doubled(value: Any) -> list[str] | None:
    """The path of a name that is given twice."""
    if isinstance(value, _Members):
        seen: set[str] = set()
        for name, _ in value:
            if name in seen:
                return [name]
            seen.add(name)
        members: Any = value
    elif isinstance(value, list):
        members = ((str(place), entry) for place, entry in enumerate(value))
    else:
        return None
    for name, entry in members:
        below = _doubled(entry)
        if below is not None:
            return [name, *below]
    return None
