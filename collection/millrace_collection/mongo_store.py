"""The store port on MongoDB. Majority write concern with journal, retryable writes, bounded by a deadline (I1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from millrace_collection.availability import DUPLICATE_KEY, document_errors, guarded
from millrace_collection.store import ApiKey, Change, Document, Inserted, RefundChange, Reservation, StatusChange, StoreConflict
from millrace_contracts import documents

ACKNOWLEDGED = WriteConcern("majority", j=True)
READY_SECONDS = 2.0


class MongoStore:
    """``retry_seconds`` bounds every operation, the driver's retries included. ``close`` it from the loop that used it."""

    def __init__(self, uri: str, database: str, retry_seconds: float) -> None:
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(
            uri, serverSelectionTimeoutMS=int(retry_seconds * 1000), retryWrites=True, tz_aware=True, appname="millrace-collection"
        )
        self._seconds = retry_seconds
        # Dates outside the years 1 to 9999 decode as ``DatetimeMS`` instead of failing.
        options = CodecOptions[Document](tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
        self._database = self._client.get_database(
            database, codec_options=options, write_concern=ACKNOWLEDGED, read_concern=ReadConcern("majority")
        )
        self._payments = self._database[documents.PAYMENTS]
        self._reservations = self._database[documents.IDEMPOTENCY_KEYS]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ready(self) -> None:
        """A linearizable read: the primary asks a majority before it answers."""
        async with guarded(READY_SECONDS):
            await self._database[documents.API_KEYS].with_options(read_concern=ReadConcern("linearizable")).find_one({"_id": ""})

    async def insert_payments(self, documents: Sequence[Document]) -> list[Inserted]:
        """One unordered insert; each document answers for itself."""
        outcomes: list[Inserted] = ["inserted"] * len(documents)
        async with self._guarded():
            try:
                await self._payments.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                for failure in document_errors(error):
                    outcomes[failure["index"]] = "exists" if failure["code"] == DUPLICATE_KEY else "invalid"
        return outcomes

    async def payments(self, ids: Iterable[str]) -> dict[str, Document]:
        """By id, majority-committed: what is read here can not be rolled back."""
        return await self._by_id(self._payments, ids)

    async def merchants(self, ids: Iterable[str]) -> dict[str, Document]:
        """By id."""
        return await self._by_id(self._database[documents.MERCHANTS], ids)

    async def users(self, keys: Iterable[str]) -> dict[str, Document]:
        """By customer key."""
        return await self._by_id(self._database[documents.USERS], keys)

    async def change_payments(self, changes: Sequence[Change]) -> int:
        """Guards stand in the filters, so that two refunds at once can not give back more than was paid."""
        async with self._guarded():
            try:
                result = await self._payments.bulk_write([_update(change) for change in changes], ordered=False)
            except BulkWriteError as error:
                document_errors(error)
                return int(error.details["nModified"])
            return result.modified_count

    async def put(self, collection: str, document: Document, optional: Iterable[str], at: datetime) -> bool:
        """An upsert that keeps createdAt; two at once on a new document collide once and the second finds it there."""
        fields = {name: value for name, value in document.items() if name != "_id"}
        update: dict[str, Any] = {"$set": {**fields, "updatedAt": at}, "$setOnInsert": {"createdAt": at}}
        absent = {name: "" for name in optional if name not in fields}
        if absent:
            update["$unset"] = absent
        async with self._guarded():
            for last in (False, True):
                try:
                    result = await self._database[collection].update_one({"_id": document["_id"]}, update, upsert=True)
                except DuplicateKeyError as error:
                    if last:
                        raise StoreConflict(f"{collection} holds another document with the same unique value") from error
                else:
                    return result.upserted_id is not None
        raise AssertionError("the second attempt returned or raised")

    async def api_key(self, key_id: str) -> ApiKey | None:
        """One API key."""
        async with self._guarded():
            found = await self._database[documents.API_KEYS].find_one({"_id": key_id})
        return None if found is None else _api_key(found)

    async def api_keys(self) -> list[ApiKey]:
        """All, oldest first."""
        async with self._guarded():
            return [_api_key(found) async for found in self._database[documents.API_KEYS].find().sort("createdAt")]

    async def add_api_key(self, key: ApiKey) -> None:
        """Keep a new API key."""
        row: Document = {"_id": key.id, "name": key.name, "hash": key.hash, "scopes": list(key.scopes), "createdAt": key.created_at}
        optional = {"merchants": list(key.merchants), "expiresAt": key.expires_at, "quota": key.quota}
        row |= {name: value for name, value in optional.items() if value}
        async with self._guarded():
            await self._database[documents.API_KEYS].insert_one(row)

    async def revoke_api_key(self, key_id: str, at: datetime) -> bool:
        """Revoke; False where there is nothing to revoke."""
        async with self._guarded():
            result = await self._database[documents.API_KEYS].update_one(
                {"_id": key_id, "revokedAt": {"$exists": False}}, {"$set": {"revokedAt": at}}
            )
        return result.modified_count == 1

    async def take_quota(self, key: ApiKey, minute: datetime, wanted: int) -> int:
        """One atomic update of the key's document; not a majority's, as a count that is lost with a primary does no harm."""
        assert key.quota is not None, "a key without a quota is not counted"
        used = {"$cond": [{"$eq": ["$used.minute", minute]}, "$used.commands", 0]}
        counted = {"minute": minute, "commands": {"$min": [key.quota, {"$add": [used, wanted]}]}}
        async with self._guarded():
            before = (
                await self._database[documents.API_KEYS]
                .with_options(write_concern=WriteConcern(1))
                .find_one_and_update({"_id": key.id}, [{"$set": {"used": counted}}], projection={"used": 1})
            )
        last = (before or {}).get("used")
        return min(wanted, key.quota - (last["commands"] if last and last["minute"] == minute else 0))

    async def reserve(self, reservation: Reservation) -> Reservation | None:
        """The unique ``_id`` decides which of two at once executes."""
        row = {
            "_id": reservation.id,
            "bodyHash": reservation.body_hash,
            "reservedId": reservation.reserved_id,
            "state": "running",
            "createdAt": reservation.created_at,
            "lockedUntil": reservation.locked_until,
        }
        async with self._guarded():
            while True:
                try:
                    await self._reservations.insert_one(row)
                except DuplicateKeyError:
                    found = await self._reservations.with_options(read_concern=ReadConcern("local")).find_one({"_id": reservation.id})
                    if found is not None:
                        stored = _reservation(found)
                        # Equal reserved ids mean that this request made it, in an attempt whose answer was lost.
                        return None if stored.reserved_id == reservation.reserved_id else stored
                else:
                    return None

    async def take_over(self, reservation: Reservation, locked_until: datetime) -> bool:
        """Compare and set on the lock."""
        async with self._guarded():
            result = await self._reservations.update_one(
                {"_id": reservation.id, "state": "running", "lockedUntil": reservation.locked_until},
                {"$set": {"lockedUntil": locked_until}},
            )
        return result.modified_count == 1

    async def finish(self, reservation_id: str, status: int, body: bytes) -> None:
        """Store the answer."""
        async with self._guarded():
            await self._reservations.update_one({"_id": reservation_id}, {"$set": {"state": "done", "status": status, "body": body}})

    async def release(self, reservation: Reservation) -> None:
        """Remove it, unless another request made a new one since."""
        async with self._guarded():
            await self._reservations.delete_one({"_id": reservation.id, "reservedId": reservation.reserved_id})

    async def _by_id(self, collection: AsyncCollection[Document], ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(ids)
        if not wanted:
            return {}
        async with self._guarded():
            rows = await collection.find({"_id": {"$in": wanted}}).to_list()
        return {row["_id"]: row for row in rows}

    def _guarded(self) -> AbstractAsyncContextManager[None]:
        return guarded(self._seconds)


def _update(change: Change) -> UpdateOne:
    if isinstance(change, StatusChange):
        return UpdateOne({"_id": change.payment_id, "status": "pending"}, {"$set": {"status": change.status, "updatedAt": change.at}})
    return _refund_update(change)


def _refund_update(change: RefundChange) -> UpdateOne:
    guard = {
        "_id": change.payment_id,
        "status": "succeeded",
        "refunds.id": {"$ne": change.id},
        "$expr": {"$lte": [{"$add": [{"$sum": "$refunds.amount"}, change.amount]}, "$amount"]},
    }
    refund = {"id": change.id, "amount": change.amount, "refundedAt": change.refunded_at}
    return UpdateOne(guard, {"$push": {"refunds": refund}, "$set": {"updatedAt": change.at}})


def _api_key(row: Document) -> ApiKey:
    return ApiKey(
        row["_id"],
        row["name"],
        row["hash"],
        tuple(row["scopes"]),
        row["createdAt"],
        row.get("revokedAt"),
        tuple(row.get("merchants", ())),
        row.get("expiresAt"),
        row.get("quota"),
    )


def _reservation(row: Document) -> Reservation:
    return Reservation(
        row["_id"],
        row["bodyHash"],
        row["reservedId"],
        row["createdAt"],
        row["lockedUntil"],
        row.get("status"),
        None if row.get("body") is None else bytes(row["body"]),
    )
