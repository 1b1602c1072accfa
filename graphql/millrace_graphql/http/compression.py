"""Kept answers compressed: once, when a reader that takes gzip asks for one again, so that neither we nor a proxy do it each time."""

from __future__ import annotations

import gzip

from millrace_graphql.bounded import short_texts

LEAST_BYTES = 1_024
"""A smaller answer travels in one packet anyway."""
LEVEL = 3
"""Numbers as digits: level 9 saves a twentieth more and takes six times as long."""
ENCODING = (b"content-encoding", b"gzip")


@short_texts(256)
def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether an Accept-Encoding takes gzip (RFC 9110, section 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.decode("latin-1").lower().split(","):
        name, _, parameter = part.partition(";")
        key, _, weight = parameter.partition("=")
        try:
            weights[name.strip()] = float(weight) if key.strip() == "q" else 1.0
        except ValueError:
            weights[name.strip()] = 0.0  # what is no weight is no wish
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def compressed(content: bytes) -> bytes:
    """Equal bytes for equal content."""
    return gzip.compress(content, LEVEL, mtime=0)
