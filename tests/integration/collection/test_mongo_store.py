"""MongoDB keeps the contract of the store port."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo import MongoClient, monitoring

from millrace_collection.mongo_store import MongoStore
from millrace_collection.store import ApiKey, RefundChange, StoreUnavailable
from tests.unit.collection.store_contract import KEY, LATER, MERCHANT, NOW, RESERVATION, StoreContract, payment

Settings = dict[str, str]


@pytest.fixture(autouse=True)
def driver_leftovers() -> Iterator[None]:
    """The driver leaves the socket of an attempt that a bound or close() has cut off to the garbage collector.

    It is collected once the event loop is gone: until then a task of it may hold the socket, which then fails a later test.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Writes(monitoring.CommandListener):
    """The write commands that go to one database."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.commands: list[Any] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.database_name == self.database and event.command_name in ("insert", "update", "delete", "findAndModify"):
            self.commands.append(event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


class TestMongoStore(StoreContract):
    @pytest.fixture
    async def store(self, declared: Settings) -> AsyncIterator[MongoStore]:
        database = declared["MILLRACE_NAMES_DATABASE"]
        with MongoClient(declared["MILLRACE_MONGO_ADMIN_URI"]) as admin:
            for collection in ("payments", "merchants", "users", "apiKeys", "idempotencyKeys"):
                admin[database][collection].delete_many({})
        made = MongoStore(declared["MILLRACE_MONGO_COLLECTION_URI"], database, 60)
        yield made
        await made.close()


@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_unavailable_within_the_bound() -> None:
    store = MongoStore("mongodb://u:p@127.0.0.1:1/?authSource=admin", "x", 0.5)
    with pytest.raises(StoreUnavailable):
        await store.payments(["a"])
    await store.close()


@pytest.mark.anyio
async def test_every_write_asks_for_a_majority_with_its_journal_and_can_be_retried(declared: Settings) -> None:
    """I1, on the wire."""
    database = declared["MILLRACE_NAMES_DATABASE"]
    writes = Writes(database)
    monitoring.register(writes)
    store = MongoStore(declared["MILLRACE_MONGO_COLLECTION_URI"], database, 60)
    await store.insert_payments([payment("w1")])
    await store.change_payments([RefundChange("w1", "r1", 1, NOW, LATER)])
    await store.put("merchants", dict(MERCHANT), [], NOW)
    await store.put("users", {"_id": KEY, "userId": "u1", "schemaVersion": 1}, [], NOW)
    await store.add_api_key(ApiKey("w", "shop", "0" * 64, ("payments:write",), NOW))
    await store.revoke_api_key("w", LATER)
    await store.reserve(RESERVATION)
    await store.take_over(RESERVATION, LATER)
    await store.finish(RESERVATION.id, 201, b"{}")
    await store.release(RESERVATION)
    await store.close()
    assert [next(iter(command)) for command in writes.commands] == [
        "insert", "update", "update", "update", "insert", "update", "insert", "update", "update", "delete",
    ]  # fmt: skip
    concerns = [{name: command["writeConcern"][name] for name in ("w", "j")} for command in writes.commands]
    assert concerns == [{"w": "majority", "j": True}] * 10
    assert all("txnNumber" in command for command in writes.commands)
