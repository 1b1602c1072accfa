"""Who is asking: the API's access tokens (JWT by JWKS), and the rows that they open (I9)."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
import orjson

from millrace_contracts.identity import ALGORITHMS, Role
from millrace_processors.query.errors import ForbiddenError, UnauthenticatedError
from millrace_processors.query.settings import TokenSettings

REFRESH_SECONDS = 10.0
"""The JWKS is read again at most this often, however many unknown keys are shown."""
KEEP_SECONDS = 300.0
"""A key is looked up again after this time, so that a withdrawn one does not open for long."""
ROLES: tuple[Role, ...] = ("merchant", "operator", "service")


@dataclass(frozen=True)
class Caller:
    """Who asks. ``merchants`` are the only ones that a merchant sees; operators (analysts) and services see all."""

    subject: str
    role: Role
    merchants: frozenset[str]

    @property
    def sees_all(self) -> bool:
        """Whether every merchant's rows, and all columns, are open to the caller."""
        return self.role != "merchant"

    @cached_property
    def tenant(self) -> str:
        """Whose turn a query takes: that of the merchants seen, or of an operator or service by itself."""
        return _digest([self.role, self.subject] if self.sees_all else sorted(self.merchants))

    @cached_property
    def owner(self) -> str:
        """Whose jobs a caller finds again: their own, and only while they see the same rows (I9)."""
        return _digest([self.role, self.subject, *sorted(self.merchants)])

    def rows(self, asked: list[str] | None) -> tuple[str, ...] | None:
        """The merchants of a query that asks for some, or for all of the caller's (None); None where that is every merchant.

        Raises:
            ForbiddenError: one of them is not the caller's; the same answer whether it exists or not.
        """
        if self.sees_all:
            return None if asked is None else tuple(sorted(set(asked)))
        for merchant in asked or ():
            if merchant not in self.merchants:
                raise ForbiddenError(f"merchants: your token does not open merchant {merchant!r:.60}", merchant=merchant[:60])
        found = tuple(sorted(self.merchants if asked is None else set(asked)))
        if not found:
            raise ForbiddenError("your token opens no merchant")
        return found


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]


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


class Gate:
    """Turns an Authorization header into a caller."""

    def __init__(self, settings: TokenSettings, keys: KeySet | None = None) -> None:
        self._settings = settings
        self._keys = keys or KeySet(settings.jwks)

    def identify(self, header: str) -> Caller:
        """The caller behind a header.

        Raises:
            UnauthenticatedError: there is none, or it does not hold; the message says why.
        """
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError("send your access token in the header 'Authorization: Bearer <token>'")
        try:
            return _caller(self._claims(token.strip()))
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"token: {error}; ask for a new one") from None

    def _claims(self, token: str) -> dict[str, Any]:
        head = jwt.get_unverified_header(token)
        # The allow-list comes before any key is looked up: `none` and symmetric algorithms end here.
        if head.get("alg") not in ALGORITHMS:
            raise UnauthenticatedError(f"token: the signature algorithm {head.get('alg')!r:.20} is not one of {', '.join(ALGORITHMS)}")
        key = self._keys.find(str(head.get("kid", "")))
        # One key, one algorithm: a key is never used for another than its own.
        if key is None or key.algorithm_name != head["alg"]:
            raise UnauthenticatedError(f"token: no published key for {head['alg']} has the id {head.get('kid')!r:.60}")
        return jwt.decode(
            token,
            key,
            algorithms=[head["alg"]],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._settings.leeway_seconds,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )


def _caller(claims: dict[str, Any]) -> Caller:
    role, merchants = claims.get("role"), claims.get("merchants", [])
    if role not in ROLES:
        raise UnauthenticatedError(f"token: the role {role!r:.20} is not one of {', '.join(ROLES)}")
    if not isinstance(merchants, list) or not all(isinstance(merchant, str) for merchant in merchants):
        raise UnauthenticatedError("token: the claim merchants is not a list of merchant ids")
    return Caller(str(claims["sub"]), role, frozenset(merchants))
