"""Each tier's login of MongoDB: what is declared for it, and ten attempts at other things, which the server refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from tests.integration.mongo_init.conftest import Settings, as_role
from tests.integration.mongo_init.test_apply import PAYMENT

UNAUTHORIZED = 13
Attempt = Callable[[MongoClient[dict[str, Any]], str], object]


def reads(collection: str, base: str = "") -> Attempt:
    return lambda client, database: client[base or database][collection].find_one()


def sums(collection: str) -> Attempt:
    return lambda client, database: list(client[database][collection].aggregate([{"$limit": 1}]))


def joins(own: str, collection: str) -> Attempt:
    stage = {"$lookup": {"from": collection, "pipeline": [], "as": "found"}}
    return lambda client, database: list(client[database][own].aggregate([stage]))


def inserts(collection: str) -> Attempt:
    return lambda client, database: client[database][collection].insert_one({"_id": "x", **PAYMENT})


def updates(collection: str) -> Attempt:
    return lambda client, database: client[database][collection].update_one({"_id": "x"}, {"$set": {"a": 1}})


def deletes(collection: str) -> Attempt:
    return lambda client, database: client[database][collection].delete_one({"_id": "x"})


def follows(collection: str) -> Attempt:
    return lambda client, database: client[database][collection].watch().close()


def follows_the_database(client: MongoClient[dict[str, Any]], database: str) -> None:
    client[database].watch().close()


def makes_a_user(client: MongoClient[dict[str, Any]], database: str) -> None:
    client.admin.command("createUser", "intruder", pwd="p", roles=["root"])


def merges(own: str, collection: str) -> Attempt:
    return lambda client, database: list(client[database][own].aggregate([{"$merge": {"into": collection}}]))


OPLOG = reads("oplog.rs", "local")
REFUSED: dict[str, list[Attempt]] = {
    "relay": [
        reads("apiKeys"), reads("idempotencyKeys"), inserts("apiKeys"), inserts("idempotencyKeys"), updates("payments"),
        inserts("payments"), deletes("payments"), joins("payments", "users"), follows_the_database, OPLOG, makes_a_user,
    ],
    "truth": [
        reads("apiKeys"), reads("idempotencyKeys"), inserts("apiKeys"), inserts("idempotencyKeys"), inserts("payments"),
        updates("users"), deletes("merchants"), joins("payments", "apiKeys"), merges("payments", "apiKeys"), follows("payments"), OPLOG,
    ],
    "collection": [
        OPLOG, follows("payments"), follows_the_database, deletes("payments"), deletes("apiKeys"), deletes("users"), makes_a_user,
        reads("system.users", "admin"), lambda client, database: client[database].payments.drop(),
        lambda client, database: client[database].command("collMod", "payments", validator={}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", REFUSED)
def test_what_is_not_declared_for_a_login_is_refused(role: str, applied: Settings, database: str) -> None:
    assert len(REFUSED[role]) >= 10
    with as_role(applied, role) as client:
        for number, attempt in enumerate(REFUSED[role]):
            with pytest.raises(OperationFailure) as refused:
                attempt(client, database)
            assert refused.value.code == UNAUTHORIZED, (role, number, refused.value)
