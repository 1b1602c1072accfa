"""MongoDB keeps the contract of the store port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pymongo import MongoClient

from millrace_collection.mongo_store import MongoStore
from millrace_collection.store import StoreUnavailable
from tests.unit.collection.store_contract import StoreContract

Settings = dict[str, str]


class TestMongoStore(StoreContract):
    @pytest.fixture
    async def store(self, declared: Settings) -> AsyncIterator[MongoStore]:
        database = declared["MILLRACE_NAMES_DATABASE"]
        with MongoClient(declared["MILLRACE_MONGO_ADMIN_URI"]) as admin:
            for collection in ("payments", "merchants", "users", "apiKeys", "idempotencyKeys"):
                admin[database][collection].delete_many({})
        made = MongoStore(declared["MILLRACE_MONGO_COLLECTION_URI"], database, 8)
        yield made
        await made.close()


@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_unavailable_within_the_bound() -> None:
    store = MongoStore("mongodb://u:p@127.0.0.1:1/?authSource=admin", "x", 0.5)
    with pytest.raises(StoreUnavailable):
        await store.payments(["a"])
    await store.close()
