"""Resume tokens: what MongoDB hands out with each event and after each batch, and from where it can go on.

A token is ``{"_data": "<hex>"}``; the string starts with ``82``, the type byte of a timestamp in MongoDB's KeyString format, and the
cluster time as eight hexadecimal digits of seconds and eight of the ordinal. The strings grow strictly from event to event, so they
break ties inside one transaction; their lengths differ, so they compare as strings and not as numbers.
Tokens after a batch (post-batch tokens) are of the same form and may stand for no event at all: that is how an idle stream advances.
"""

from __future__ import annotations

from millrace_contracts.changes import cluster_time

TIMESTAMP_TYPE = "82"
_TIME = slice(2, 18)


class BadToken(ValueError):
    """Not a resume token of MongoDB 4.0.7 or later."""


def position(token: str) -> tuple[int, int]:
    """Seconds and ordinal of a token's cluster time.

    Raises:
        BadToken: names what was found instead.
    """
    try:
        # Python's int takes signs, spaces, underscores and other scripts' digits, which are no hexadecimal digits.
        if token[:2] == TIMESTAMP_TYPE and len(token) >= 18 and token.isascii() and token[_TIME].isalnum():
            packed = int(token[_TIME], 16)
            return packed >> 32, packed & 0xFFFFFFFF
        raise ValueError
    except ValueError:
        raise BadToken(f"{token[:40]!r} is not a resume token: it starts with 82 and 16 hexadecimal digits of cluster time") from None


def packed_time(token: str) -> int:
    """Cluster time of a token, packed as ``contracts.changes.cluster_time`` packs it."""
    return cluster_time(*position(token))


def through_ms(token: str) -> int:
    """Up to which cluster time (ms) everything stands before a token: the end of the second before its own."""
    return position(token)[0] * 1000 - 1
