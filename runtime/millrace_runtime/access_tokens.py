"""Access tokens (JWT) verified by a JWKS, for the services that are asked from threads. What a role may do is theirs to say.

The API has an asynchronous key set of its own, which never holds an event loop up (millrace_graphql.identity).
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import orjson

from millrace_contracts.identity import ALGORITHMS

REFRESH_SECONDS = 10.0
"""The JWKS is read again at most this often, however many unknown keys are shown."""
KEEP_SECONDS = 300.0
"""A key is looked up again after this time, so that a withdrawn one does not open for long."""


class RefusedToken(Exception):
    """A token that does not hold; the message says why, for whoever sent it."""


class KeySet:
    """The public keys behind a path or URL, read again for a key that is not known yet (rotation). For several threads."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of an id, or None."""
        with self._lock:
            age = self._clock() - self._read_at
            if age >= KEEP_SECONDS or (kid not in self._keys and age >= REFRESH_SECONDS):
                self._refresh()
            return self._keys.get(kid)

    def _refresh(self) -> None:
        try:
            entries = orjson.loads(self._load())["keys"]
            keys = [jwt.PyJWK.from_dict(entry) for entry in entries if entry.get("kid") and entry.get("kty") != "oct"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
            # An absent file may be there a second later; keys that were read before are kept no longer than without it.
            self._read_at = self._clock() - REFRESH_SECONDS + 1
            return
        self._keys = {str(key.key_id): key for key in keys if key.algorithm_name in ALGORITHMS}
        self._read_at = self._clock()

    def _load(self) -> bytes:
        if self._source.startswith(("https://", "http://")):
            with urllib.request.urlopen(self._source, timeout=5) as answer:  # noqa: S310 - the scheme is checked above
                return bytes(answer.read(1_000_000))
        return Path(self._source).read_bytes()


def bearer(header: str) -> str | None:
    """The token of an Authorization header, or None where it holds none."""
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def verified(token: str, keys: KeySet, *, audience: str, issuer: str, leeway_seconds: int) -> dict[str, Any]:
    """The claims of a token that holds.

    Raises:
        RefusedToken: it does not.
    """
    try:
        head = jwt.get_unverified_header(token)
        # The allow-list comes before any key is looked up: `none` and symmetric algorithms end here.
        if head.get("alg") not in ALGORITHMS:
            raise RefusedToken(f"token: the signature algorithm {head.get('alg')!r:.20} is not one of {', '.join(ALGORITHMS)}")
        key = keys.find(str(head.get("kid", "")))
        # One key, one algorithm: a key is never used for another than its own.
        if key is None or key.algorithm_name != head["alg"]:
            raise RefusedToken(f"token: no published key for {head['alg']} has the id {head.get('kid')!r:.60}")
        return jwt.decode(
            token,
            key,
            algorithms=[head["alg"]],
            audience=audience,
            issuer=issuer,
            leeway=leeway_seconds,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
    except jwt.PyJWTError as error:
        raise RefusedToken(f"token: {error}; ask for a new one") from None
