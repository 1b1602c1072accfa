"""Who is asking: access tokens by JWKS, and which merchants' rows they open (I9)."""

from __future__ import annotations

import asyncio
import hashlib
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
import orjson
import structlog

from millrace_contracts.identity import ALGORITHMS, Role
from millrace_graphql.errors import ForbiddenError, UnauthenticatedError

log = structlog.get_logger()
CACHED_TOKENS = 10_000
CACHED_SECONDS = 300.0
"""A verified token is looked at again after this time at the latest, so that a withdrawn key does not open for long."""
KEYS_SECONDS = 300.0
"""The JWKS is read again after this time, so that a key that was taken out of it opens nothing for long."""
KEYS_LONGEST_SECONDS = 3_600.0
"""A JWKS that cannot be read any more is believed for so long."""
REFRESH_SECONDS = 10.0
"""The JWKS is fetched at most this often, however many unknown keys are shown."""
ROLES: tuple[Role, ...] = ("merchant", "operator", "service")


@dataclass(frozen=True)
class Identity:
    """A caller. ``merchants`` are the only ones a merchant sees; operators and services see all."""

    subject: str
    role: Role
    merchants: frozenset[str]
    expires: float = field(default=float("inf"), compare=False)
    """Epoch seconds at which the token ends."""

    @cached_property
    def tenant(self) -> str:
        """Names exactly the rows that the caller sees: equal tenants, equal answers (I9)."""
        if self.sees_all:
            return self.role
        return "m:" + hashlib.sha256(orjson.dumps(sorted(self.merchants))).hexdigest()[:32]

    @cached_property
    def payer(self) -> str:
        """Whose points a request costs: those of the merchants seen, or of an operator or service by itself."""
        return f"{self.role}:{hashlib.sha256(self.subject.encode()).hexdigest()[:32]}" if self.sees_all else self.tenant

    @property
    def sees_all(self) -> bool:
        """Whether every merchant's rows are open to the caller."""
        return self.role != "merchant"

    def sees(self, merchant_id: str) -> bool:
        """Whether a merchant's rows are open to the caller."""
        return self.sees_all or merchant_id in self.merchants

    def require(self, merchant_id: str) -> None:
        """Refuse another merchant's rows; the same answer whether it exists or not (I9).

        Raises:
            ForbiddenError: the caller does not hold this merchant.
        """
        if not self.sees(merchant_id):
            raise ForbiddenError(f"merchantId: your token does not open merchant {merchant_id!r:.60}", argument="merchantId")


class KeySet:
    """The public keys behind a path or URL, read again when a token names a key that is not known yet (rotation)."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried = float("-inf")
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of an id, or None."""
        if self._lacks(kid):
            async with self._lock:
                if self._lacks(kid) and self._clock() - self._tried >= REFRESH_SECONDS:
                    self._tried = self._clock()
                    await self._refresh()
        if self._clock() - self._read_at >= KEYS_LONGEST_SECONDS:
            return None
        return self._keys.get(kid)

    def _lacks(self, kid: str) -> bool:
        return kid not in self._keys or self._clock() - self._read_at >= KEYS_SECONDS

    async def _refresh(self) -> None:
        try:
            document = orjson.loads(await asyncio.to_thread(self._read))
            keys = [key for entry in document["keys"] if (key := _public_key(entry)) is not None]
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("jwks.unreadable", source=self._source, problem=f"{type(error).__name__}: {error}"[:200])
            self._tried = self._clock() - REFRESH_SECONDS + 1  # an absent file may be there a second later
            return
        self._keys = {str(key.key_id): key for key in keys}
        self._read_at = self._clock()

    def _read(self) -> bytes:
        if self._source.startswith(("https://", "http://")):
            with urllib.request.urlopen(self._source, timeout=5) as answer:  # noqa: S310 - the scheme is checked above
                return bytes(answer.read(1_000_000))
        return Path(self._source).read_bytes()


def _public_key(entry: Any) -> jwt.PyJWK | None:
    """A key that may verify tokens; None of one for another use, of a kind that is not taken, or that is no key."""
    if not isinstance(entry, dict) or not entry.get("kid") or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
        return None
    try:
        key = jwt.PyJWK.from_dict(entry)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if key.algorithm_name in ALGORITHMS else None


class Authenticator:
    """Turns an Authorization header into an identity; a verified token is remembered until it expires."""

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str,
        audience: str,
        leeway: int = 30,
        clock: Callable[[], float] = time.time,
        capacity: int = CACHED_TOKENS,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._clock = clock
        self._capacity = capacity
        self._verified: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    def known(self, header: bytes) -> tuple[Identity | None, float]:
        """The identity behind a header that was verified before and still holds, and for how many seconds; None of any other."""
        found = self._verified.get(hashlib.sha256(header).digest()) if header else None
        left = found[1] - self._clock() if found else 0.0
        return (found[0], left) if found and left > 0 else (None, 0.0)

    async def identify(self, header: str) -> Identity | None:
        """The identity behind an Authorization header; None where there is none.

        Raises:
            UnauthenticatedError: the header or its token does not hold; the message says why.
        """
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError("Authorization: write it as 'Bearer <access token>'")
        token = token.strip()
        # The digest stands for the header, so that the process keeps no usable secret.
        digest = hashlib.sha256(header.encode("latin-1", "replace")).digest()
        known = self._verified.get(digest)
        if known and self._clock() < known[1]:
            self._verified.move_to_end(digest)
            return known[0]
        identity, expires = await self._verify(token)
        self._verified[digest] = (identity, min(expires + self._leeway, self._clock() + CACHED_SECONDS))
        while len(self._verified) > self._capacity:
            self._verified.popitem(last=False)
        return identity

    async def _verify(self, token: str) -> tuple[Identity, float]:
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            # The allow-list comes before any key is looked up: `none` and symmetric algorithms end here.
            if algorithm not in ALGORITHMS:
                raise UnauthenticatedError(f"token: the signature algorithm {algorithm!r:.20} is not one of {', '.join(ALGORITHMS)}")
            key = await self._keys.find(str(header.get("kid", "")))
            if key is None:
                raise UnauthenticatedError(f"token: no published key has the id {header.get('kid')!r:.60}")
            claims = jwt.decode(
                token,
                key,
                # One key, one algorithm: a key is never used for another than its own.
                algorithms=[algorithm] if key.algorithm_name == algorithm else [],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"token: {error}; ask for a new one") from None
        expires = float(claims["exp"])
        if expires + self._leeway <= self._clock():
            raise UnauthenticatedError("token: expired; ask for a new one")
        return _identity(claims, expires + self._leeway), expires


def _identity(claims: dict[str, Any], expires: float) -> Identity:
    role, merchants = claims.get("role"), claims.get("merchants", [])
    if role not in ROLES:
        raise UnauthenticatedError(f"token: the role {role!r:.20} is not one of {', '.join(ROLES)}")
    if not isinstance(merchants, list) or not all(isinstance(merchant, str) for merchant in merchants):
        raise UnauthenticatedError("token: the claim merchants is not a list of merchant ids")
    return Identity(claims["sub"], role, frozenset(merchants), expires)
