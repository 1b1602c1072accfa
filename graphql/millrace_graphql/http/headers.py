"""The request headers that an answer depends on, as bytes, and the headers of answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

JSON_TYPES = frozenset([b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"])
"""Content types of the common clients; another spelling takes the longer way."""
PRIVATE = b"private, no-cache"
"""An answer may be kept by its reader only, and only to be asked about again with its ETag."""
NEVER = b"private, no-store"


RequestHeaders = dict[bytes, bytes]
"""The headers of an ASGI scope by their name in lower case: ``dict(scope["headers"])``, so that of doubled ones the last counts."""


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether If-None-Match names an ETag; compared weakly, as RFC 9110 says."""
    if not if_none_match:
        return False
    if if_none_match == etag or if_none_match == b"*" or (if_none_match[:2] == b"W/" and if_none_match[2:] == etag):
        return True
    return any(part.strip().removeprefix(b"W/") == etag for part in if_none_match.split(b","))


def answer_headers(media: str, caching: bytes, more: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers of a GraphQL answer. Answers share the pairs: of thousands that are kept, these stay in the processor's cache."""
    return [*_common(media, caching), *[pair(name, value) for name, value in more.items()]]


@lru_cache(64)
def _common(media: str, caching: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-type", f"{media}; charset=utf-8".encode()),
        (b"cache-control", caching),
        (b"x-content-type-options", b"nosniff"),
        (b"vary", b"Accept, Accept-Encoding, Authorization"),
    )


@lru_cache(1_024)
def pair(name: str, value: str) -> tuple[bytes, bytes]:
    """A header as ASGI wants it."""
    return name.lower().encode(), value.encode("latin-1", "replace")


@lru_cache(1_024)
def content_length(size: int) -> tuple[bytes, bytes]:
    """The header of a body's size."""
    return b"content-length", str(size).encode()
