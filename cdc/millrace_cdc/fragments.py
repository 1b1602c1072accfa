"""A change over 16 MB, in fragments from a server that can split it ($changeStreamSplitLargeEvent, MongoDB 6.0.9 and 7.0).

Fragments follow each other; each holds some of the change's own fields, whole, and a token. Only the change that MongoDB can not send
otherwise is read so: the stage makes tokens of another version (with the operation's type in them, and the fragment's number), and one
stream must not have both, since tokens order the changes of one transaction (I5).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any

import bson

from millrace_cdc.bson_walk import elements, parts_of, token_of
from millrace_cdc.errors import RelayError

STAGE: dict[str, Any] = {"$changeStreamSplitLargeEvent": {}}
"""The last stage of a pipeline that asks for fragments."""
_VERSION_1, _VERSION_2 = "2B02", "2B04"
_VERSION = slice(18, 22)
_NUMBER = "(?:29|2B[0-9A-F]{2})"
_SPLIT_TOKEN = re.compile(
    "(?P<time>82[0-9A-F]{16})2B04(?P<middle>[0-9A-F]*?5A1004[0-9A-F]{32})"
    f"463C{b'operationType'.hex().upper()}003C(?:[0-9A-F]{{2}})+?0046{b'documentKey'.hex().upper()}00"
    f"46(?P<key>[0-9A-F]*)0000{_NUMBER}?04"
)
"""KeyString of version 2: in place of the document's key an object of operation type and key, then the fragment's number."""


def can_split(version: Sequence[int]) -> bool:
    """Whether a server of this version can split changes."""
    return (6, 0, 9) <= tuple(version[:3]) < (6, 1) or tuple(version[:2]) >= (7, 0)


def fragments_of(reply: bytes) -> list[bytes]:
    """The documents of a reply, as they are."""
    # A document begins where its element's name ends, and the element ends with it.
    return [reply[part.last : part.end] for part in parts_of(reply, 1)]


def split_of(fragment: bytes) -> tuple[int, int]:
    """(number, of how many) of a fragment; (1, 1) of a change that fits after all, as one whose before-image has expired meanwhile."""
    for _, name, offset in elements(fragment):
        if name == b"splitEvent":
            found = bson.decode(fragment[offset : offset + struct.unpack_from("<i", fragment, offset)[0]])
            return int(found["fragment"]), int(found["of"])
    return 1, 1


def joined_reply(fragments: Sequence[bytes], before: str) -> tuple[bytes, str]:
    """A reply with the whole change, and the token behind it, of the version of a token that the stream gave ``before``.

    Raises:
        RelayError: the token has a form that is not known here.
    """
    token = _plain(token_of(fragments[-1], 0), before)
    body = bson.encode({"_id": {"_data": token}})[4:-1]
    for fragment in fragments:
        found = list(elements(fragment))
        ends = [start - len(name) - 2 for _, name, start in found[1:]] + [len(fragment) - 1]
        for (_, name, start), end in zip(found, ends, strict=True):
            if name not in (b"_id", b"splitEvent"):
                body += fragment[start - len(name) - 2 : end]
    change = _document(body)
    batch = _document(b"\x030\x00" + change)
    cursor = bson.encode({"id": 0, "postBatchResumeToken": {"_data": token}})[4:-1] + b"\x04nextBatch\x00" + batch
    return _document(b"\x03cursor\x00" + _document(cursor)), token


def _document(body: bytes) -> bytes:
    return struct.pack("<i", len(body) + 5) + body + b"\x00"


def _plain(token: str, like: str) -> str:
    """The token that the change has in the stream without the stage."""
    if like[_VERSION] == _VERSION_2:
        # Without a fragment's number a token ends with the end of its object, 00, and its own, 04.
        return token if token.endswith("0004") else re.sub(f"{_NUMBER}04$", "04", token)
    found = _SPLIT_TOKEN.fullmatch(token)
    if like[_VERSION] != _VERSION_1 or found is None:
        raise RelayError(f"a change over 16 MB came in fragments, but its token has a form that is not known here: {token[:100]}")
    return f"{found['time']}{_VERSION_1}{found['middle']}46{found['key']}0004"
