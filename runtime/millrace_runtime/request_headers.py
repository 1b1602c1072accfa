"""What every service refuses in the headers of a request, before anything else is read of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_ONCE = frozenset([b"authorization", b"content-type", b"idempotency-key"])
"""A second one of them would say something else to whoever reads the first and to whoever reads the last (RFC 9110, 5.3)."""
_WITHOUT_BODY = frozenset(["GET", "HEAD"])


@dataclass(frozen=True)
class HeaderFault:
    """The answer to such a request: ``headers`` belong to it."""

    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


def fault_of(headers: Iterable[tuple[bytes, bytes]], method: str) -> HeaderFault | None:
    """400 for a header that is given twice, 415 for a coded body (RFC 9110, 12.5.3 and 15.5.16); names are in lower case."""
    seen: set[bytes] = set()
    for name, value in headers:
        if name in _ONCE:
            if name in seen:
                return HeaderFault(400, f"{name.decode().title()} is given twice; send one such header")
            seen.add(name)
        elif name == b"content-encoding" and method not in _WITHOUT_BODY:
            codings = {part.strip().lower() for part in value.decode("latin-1").split(",")}
            if codings - {"identity", ""}:
                shown = value.decode("latin-1")[:40]
                return HeaderFault(
                    415, f"Content-Encoding: {shown!r} is not taken; send the body as it is", {"Accept-Encoding": "identity"}
                )
    return None
