"""The request headers that an answer depends on, as bytes, and the headers of answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

JSON_TYPES = frozenset([b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"])
"""Content types of the common clients; another spelling takes the longer way."""
PRIVATE = b"private, no-cache"
"""An answer may be kept by its reader only, and only to be asked about again with its ETag."""
NEVER = b"private, no-store"


@dataclass(slots=True)
class RequestHeaders:
    """What is looked at; empty where a header is absent."""

    authorization: bytes = b""
    accept: bytes = b""
    content_type: bytes = b""
    content_length: bytes = b""
    if_none_match: bytes = b""
    last_event_id: bytes = b""
    traceparent: bytes = b""


def read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
    """The headers of an ASGI scope; in one pass, since this is done for every request."""
    found = RequestHeaders()
    for name, value in pairs:
        if name == b"authorization":
            found.authorization = value
        elif name == b"accept":
            found.accept = value
        elif name == b"content-type":
            found.content_type = value
        elif name == b"content-length":
            found.content_length = value
        elif name == b"if-none-match":
            found.if_none_match = value
        elif name == b"last-event-id":
            found.last_event_id = value
        elif name == b"traceparent":
            found.traceparent = value
    return found


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether If-None-Match names an ETag; compared weakly, as RFC 9110 says."""
    if not if_none_match:
        return False
    if if_none_match == etag or if_none_match == b"*":
        return True
    return any(part.strip().removeprefix(b"W/") == etag for part in if_none_match.split(b","))


def answer_headers(media: str, caching: bytes, more: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers of a GraphQL answer."""
    return [
        (b"content-type", f"{media}; charset=utf-8".encode()),
        (b"cache-control", caching),
        (b"x-content-type-options", b"nosniff"),
        (b"vary", b"Accept, Authorization"),
        *((name.lower().encode(), value.encode("latin-1", "replace")) for name, value in more.items()),
    ]
