"""Who is asking: access tokens by JWKS, and which merchants' rows they open (I9)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from millrace_contracts.identity import Role
from millrace_graphql.bounded import Bounded, text_bytes
from millrace_graphql.errors import ForbiddenError, InvalidArgumentError, UnauthenticatedError
from millrace_runtime.access_tokens import Door, Proof, RefusedToken, bearer, key_id, proof_of

TOKENS_BYTES = 16_777_216
"""Of the verified tokens that are remembered: of 10,000 with ten merchants each."""
CACHED_SECONDS = 300.0
"""A verified token is looked at again after this time at the latest, so that a withdrawn key does not open for long."""
LONGEST_MERCHANT = 128
"""Characters of a merchant's id, as the validator of the source database has it."""
ROLES: tuple[Role, ...] = ("merchant", "operator", "service")


@dataclass(frozen=True)
class Identity:
    """A caller. ``merchants`` are the only ones a merchant sees; operators and services see all."""

    subject: str
    role: Role
    merchants: frozenset[str]
    expires: float = field(default=float("inf"), compare=False)
    """Epoch seconds at which the token ends."""
    proof: Proof | None = field(default=None, compare=False)
    """What the token was believed for."""

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
            InvalidArgumentError: it is longer than an id may be: what is kept by merchant, here and in Redis, has a bounded key.
        """
        if not self.sees(merchant_id):
            raise ForbiddenError(f"merchantId: your token does not open merchant {merchant_id!r:.60}", argument="merchantId")
        if len(merchant_id) > LONGEST_MERCHANT:
            fix = f"give one of at most {LONGEST_MERCHANT} characters"
            raise InvalidArgumentError("merchantId", merchant_id, "is no merchant's id", fix)


class Lease:
    """A caller for as long as its token holds: ``ended`` is done when its key is published no more or it was withdrawn."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Authenticator:
    """Turns an Authorization header into an identity; a verified token is remembered until it expires or other tokens hold than before."""

    def __init__(self, door: Door, *, leeway: int = 30, clock: Callable[[], float] = time.time) -> None:
        self._door = door
        self._leeway = leeway
        self._clock = clock
        self._verified: Bounded[bytes, tuple[Identity, float]] = Bounded(TOKENS_BYTES)
        self._leases: set[Lease] = set()
        self._version = door.version
        self._reading = asyncio.Lock()
        self.changed: list[Callable[[], None]] = [self._verified.clear, self._end_leases]
        """Called when other tokens hold than before."""

    def known(self, header: bytes) -> tuple[Identity | None, float]:
        """The identity behind a header that was verified before and still holds, and for how many seconds; None of any other."""
        found = self._verified.peek(hashlib.sha256(header).digest()) if header else None
        left = found[1] - self._clock() if found else 0.0
        return (found[0], left) if found and left > 0 else (None, 0.0)

    async def identify(self, header: str) -> Identity | None:
        """The identity behind an Authorization header; None where there is none.

        Raises:
            UnauthenticatedError: the header or its token does not hold; the message says why.
        """
        if not header:
            return None
        token = bearer(header)
        if token is None:
            raise UnauthenticatedError("Authorization: write it as 'Bearer <access token>'")
        # The digest stands for the header, so that the process keeps no usable secret.
        digest = hashlib.sha256(header.encode("latin-1", "replace")).digest()
        known = self._verified.get(digest)
        if known and self._clock() < known[1]:
            return known[0]
        try:
            await self._read(key_id(token))
            claims = self._door.opened(token)
        except RefusedToken as error:
            raise UnauthenticatedError(str(error)) from None
        identity = _identity(claims, float(claims["exp"]) + self._leeway, proof_of(token, claims))
        self._verified.put(digest, (identity, min(identity.expires, self._clock() + CACHED_SECONDS)), _size(identity))
        return identity

    @contextmanager
    def lease(self, identity: Identity) -> Iterator[Lease]:
        """Watch a caller who stays connected."""
        lease = Lease(identity)
        self._leases.add(lease)
        try:
            yield lease
        finally:
            self._leases.discard(lease)

    async def watch(self, seconds: float) -> None:
        """Read what is due every so often: what is withdrawn ends also where no new token is shown. Until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self._read()

    async def _read(self, kid: str | None = None) -> None:
        """Read what is due, once for all who wait for it, and never on the event loop."""
        if self._door.is_behind(kid):
            async with self._reading:
                if self._door.is_behind(kid):
                    await asyncio.to_thread(self._door.read, kid)
        if self._door.version != self._version:
            self._version = self._door.version
            for tell in self.changed:
                tell()

    def _end_leases(self) -> None:
        for lease in list(self._leases):
            proof = lease.identity.proof
            if proof is not None and not self._door.holds(proof) and not lease.ended.done():
                lease.ended.set_result(None)


def _size(identity: Identity) -> int:
    """Bytes of an identity in memory, about: an entry of a set takes up to 64, as it is filled by a quarter at least."""
    return 700 + text_bytes(identity.subject) + sum(64 + text_bytes(merchant) for merchant in identity.merchants)


def _identity(claims: dict[str, Any], expires: float, proof: Proof) -> Identity:
    role, merchants = claims.get("role"), claims.get("merchants", [])
    if role not in ROLES:
        raise UnauthenticatedError(f"token: the role {role!r:.20} is not one of {', '.join(ROLES)}")
    if not isinstance(merchants, list) or not all(isinstance(merchant, str) for merchant in merchants):
        raise UnauthenticatedError("token: the claim merchants is not a list of merchant ids")
    return Identity(claims["sub"], role, frozenset(merchants), expires, proof)
