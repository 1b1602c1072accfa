"""The store port: what the services need of the source database. Adapters: MongoDB, and a fake in the tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

Document = dict[str, Any]
Inserted = Literal["inserted", "exists", "invalid"]


class StoreUnavailable(Exception):
    """No majority confirmed the operation in time. A write may or may not have happened; to repeat it is safe."""


class StoreConflict(Exception):
    """Another document holds the same unique value. ``reason`` names it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefundChange(NamedTuple):
    """Add a refund to a succeeded payment that has at least so much left."""

    payment_id: str
    id: str
    amount: int
    refunded_at: datetime
    at: datetime


class StatusChange(NamedTuple):
    """Give a pending payment its final status."""

    payment_id: str
    status: str
    at: datetime


Change = RefundChange | StatusChange


@dataclass(frozen=True)
class ApiKey:
    """An API key as it is kept: only the hash of its secret part."""

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None = None
    merchants: tuple[str, ...] = ()
    """The merchants that it opens; empty for all."""
    expires_at: datetime | None = None
    quota: int | None = None
    """Most commands a minute, over all processes."""

    def opens(self, merchant_id: object) -> bool:
        """Whether it may touch what belongs to a merchant."""
        return not self.merchants or merchant_id in self.merchants


@dataclass(frozen=True)
class Reservation:
    """An Idempotency-Key in use: the id reserved for its command and, once ``done``, the answer."""

    id: str
    body_hash: str
    reserved_id: str
    created_at: datetime
    locked_until: datetime
    status: int | None = None
    body: bytes | None = None

    @property
    def done(self) -> bool:
        """Whether the answer is stored."""
        return self.status is not None


class Store(Protocol):
    """Every write returns only after a majority has it in its journal (I1), else raises StoreUnavailable."""

    async def ready(self) -> None:
        """Return once a primary with a majority behind it answers."""

    async def insert_payments(self, documents: Sequence[Document]) -> list[Inserted]:
        """Insert each; ``exists`` where the id is taken, ``invalid`` where the validator refuses."""

    async def payments(self, ids: Iterable[str]) -> dict[str, Document]:
        """Majority-committed payments by id; unknown ids are left out."""

    async def change_payments(self, changes: Sequence[Change]) -> int:
        """Apply each change whose guard holds, at most one for a payment; returns how many held."""

    async def merchants(self, ids: Iterable[str]) -> dict[str, Document]:
        """Merchants by id."""

    async def users(self, keys: Iterable[str]) -> dict[str, Document]:
        """Users by customer key."""

    async def put(self, collection: str, document: Document, optional: Iterable[str], at: datetime) -> bool:
        """Write a merchant or user whole; ``optional`` fields that are absent are removed. Whether it is new."""

    async def api_key(self, key_id: str) -> ApiKey | None:
        """One API key."""

    async def api_keys(self) -> list[ApiKey]:
        """All API keys, oldest first."""

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a new API key."""

    async def revoke_api_key(self, key_id: str, at: datetime) -> bool:
        """Revoke; False where there is no such key or it is revoked already."""

    async def take_quota(self, key: ApiKey, minute: datetime, wanted: int) -> int:
        """Count commands of a key with a quota in a minute; returns how many of ``wanted`` it still has."""

    async def reserve(self, reservation: Reservation) -> Reservation | None:
        """Reserve an Idempotency-Key; returns the reservation that stands in the way, or None."""

    async def take_over(self, reservation: Reservation, locked_until: datetime) -> bool:
        """Extend the lock of an unfinished reservation if nobody else did."""

    async def finish(self, reservation_id: str, status: int, body: bytes) -> None:
        """Store the answer."""

    async def release(self, reservation: Reservation) -> None:
        """Remove a reservation that nothing was written under."""
