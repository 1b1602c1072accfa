"""The store port in memory. It can be told to be unavailable before a call, or after having carried one out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from millrace_collection.store import (
    ApiKey,
    Change,
    Document,
    Inserted,
    RefundChange,
    Reservation,
    StatusChange,
    StoreUnavailable,
)


class FakeStore:
    """``calls`` names the operations in order; ``down`` makes every one fail, ``lose`` the answer of the named one, once.

    ``breaks_on``: ids of payments on which an insert fails as a bug would, after some of the others were written.
    """

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, Document]] = {"payments": {}, "merchants": {}, "users": {}}
        self.keys: dict[str, ApiKey] = {}
        self.used: dict[tuple[str, datetime], int] = {}
        self.reservations: dict[str, Reservation] = {}
        self.calls: list[str] = []
        self.down = False
        self.lose: str | None = None
        self.breaks_on: frozenset[str] = frozenset()

    def _begin(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise StoreUnavailable("the fake is down")

    def _end(self, name: str) -> None:
        if self.lose == name:
            self.lose = None
            raise StoreUnavailable("the fake lost its answer")

    async def ready(self) -> None:
        self._begin("ready")

    async def insert_payments(self, documents: Sequence[Document]) -> list[Inserted]:
        self._begin("insert_payments")
        held = self.collections["payments"]
        outcomes: list[Inserted] = []
        for document in documents:
            if document["_id"] in self.breaks_on:
                raise OverflowError("the fake cannot encode this document")
            if document["amount"] < 0:
                outcomes.append("invalid")
            elif document["_id"] in held:
                outcomes.append("exists")
            else:
                held[document["_id"]] = copy.deepcopy(document)
                outcomes.append("inserted")
        self._end("insert_payments")
        return outcomes

    async def payments(self, ids: Iterable[str]) -> dict[str, Document]:
        return self._by_id("payments", ids)

    async def merchants(self, ids: Iterable[str]) -> dict[str, Document]:
        return self._by_id("merchants", ids)

    async def users(self, keys: Iterable[str]) -> dict[str, Document]:
        return self._by_id("users", keys)

    def _by_id(self, collection: str, ids: Iterable[str]) -> dict[str, Document]:
        self._begin(collection)
        held = self.collections[collection]
        return {key: copy.deepcopy(held[key]) for key in ids if key in held}

    async def change_payments(self, changes: Sequence[Change]) -> int:
        self._begin("change_payments")
        changed = sum(self._changed(change) for change in changes)
        self._end("change_payments")
        return changed

    def _changed(self, change: Change) -> bool:
        payment = self.collections["payments"].get(change.payment_id)
        if payment is None:
            return False
        if isinstance(change, StatusChange):
            if payment["status"] != "pending":
                return False
            payment.update(status=change.status, updatedAt=change.at)
            return True
        return self._refunded(payment, change)

    def _refunded(self, payment: dict[str, Any], change: RefundChange) -> bool:
        spent = sum(refund["amount"] for refund in payment["refunds"])
        taken = change.id in [refund["id"] for refund in payment["refunds"]]
        if payment["status"] != "succeeded" or taken or spent + change.amount > payment["amount"]:
            return False
        payment["refunds"].append({"id": change.id, "amount": change.amount, "refundedAt": change.refunded_at})
        payment["updatedAt"] = change.at
        return True

    async def put(self, collection: str, document: Document, optional: Iterable[str], at: datetime) -> bool:
        self._begin("put")
        there = self.collections[collection].get(document["_id"])
        kept = {name: value for name, value in (there or {"createdAt": at}).items() if name not in set(optional)}
        self.collections[collection][document["_id"]] = {**kept, **copy.deepcopy(document), "updatedAt": at}
        return there is None

    async def api_key(self, key_id: str) -> ApiKey | None:
        self._begin("api_key")
        return self.keys.get(key_id)

    async def api_keys(self) -> list[ApiKey]:
        self._begin("api_keys")
        return sorted(self.keys.values(), key=lambda key: key.created_at)

    async def add_api_key(self, key: ApiKey) -> None:
        self._begin("add_api_key")
        self.keys[key.id] = key

    async def revoke_api_key(self, key_id: str, at: datetime) -> bool:
        self._begin("revoke_api_key")
        key = self.keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return False
        self.keys[key_id] = dataclasses.replace(key, revoked_at=at)
        return True

    async def take_quota(self, key: ApiKey, minute: datetime, wanted: int) -> int:
        self._begin("take_quota")
        assert key.quota is not None
        used = self.used.get((key.id, minute), 0)
        self.used[key.id, minute] = min(key.quota, used + wanted)
        return min(wanted, key.quota - used)

    async def reserve(self, reservation: Reservation) -> Reservation | None:
        self._begin("reserve")
        stored = self.reservations.setdefault(reservation.id, reservation)
        return None if stored.reserved_id == reservation.reserved_id else stored

    async def take_over(self, reservation: Reservation, locked_until: datetime) -> bool:
        self._begin("take_over")
        stored = self.reservations.get(reservation.id)
        if stored is None or stored.done or stored.locked_until != reservation.locked_until:
            return False
        self.reservations[reservation.id] = dataclasses.replace(stored, locked_until=locked_until)
        return True

    async def finish(self, reservation_id: str, status: int, body: bytes) -> None:
        self._begin("finish")
        self.reservations[reservation_id] = dataclasses.replace(self.reservations[reservation_id], status=status, body=body)

    async def release(self, reservation: Reservation) -> None:
        self._begin("release")
        stored = self.reservations.get(reservation.id)
        if stored is not None and stored.reserved_id == reservation.reserved_id:
            del self.reservations[reservation.id]
