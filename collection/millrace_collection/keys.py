"""The key generation service: ids without business value, so that a hashed or ranged shard key balances."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable

KeyGenerator = Callable[[], str]


def new_key() -> str:
    """128 random bits in base64url, 22 characters."""
    return _text(secrets.token_bytes(16))


def derived_key(*parts: str) -> str:
    """A key that is the same for the same parts, 128 bits of their SHA-256; each part is set apart by its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return _text(digest.digest()[:16])


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
