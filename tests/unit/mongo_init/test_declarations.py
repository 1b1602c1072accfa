"""The declarative files agree with the contracts."""

import pytest

from millrace_contracts import documents, identity
from millrace_contracts.values import currencies
from millrace_mongo_init.declarations import Index, Privilege, load, role_name


def validator(collection: str) -> dict:
    (found,) = [item for item in load().collections if item.collection == collection]
    return found.validator["$jsonSchema"]["properties"]


def test_every_collection_of_the_contracts_is_declared() -> None:
    declared = {item.collection for item in load().collections}
    assert {"payments", "merchants", "users", "apiKeys", "idempotencyKeys"} <= declared


def test_the_enumerations_are_those_of_the_contracts() -> None:
    payment = validator("payments")
    assert payment["status"]["enum"] == list(documents.PAYMENT_STATUSES)
    assert payment["method"]["enum"] == list(documents.PAYMENT_METHODS)
    assert payment["user"]["properties"]["gender"]["enum"] == list(documents.GENDERS)
    assert payment["user"]["properties"]["device"]["properties"]["type"]["enum"] == list(documents.DEVICE_TYPES)
    assert validator("apiKeys")["scopes"]["items"]["enum"] == list(identity.SCOPES)


@pytest.mark.parametrize("collection", ["payments", "merchants"])
def test_the_currencies_are_those_of_the_contracts(collection: str) -> None:
    assert set(validator(collection)["currency"]["enum"]) == set(currencies.TAKEN)


def test_the_snapshot_of_a_user_has_no_room_for_personal_data() -> None:
    """I12: the object is closed and names no sensitive field but the id that the relay drops."""
    user = validator("payments")["user"]
    assert user["additionalProperties"] is False
    assert set(user["properties"]) == {"id", "key", "birthYear", "gender", "country", "grade", "device"}


def test_captured_collections_keep_their_images_and_no_other_does() -> None:
    assert {item.collection for item in load().collections if item.images} == {"payments", "merchants", "users"}


def test_the_collection_role_reaches_no_other_database_and_deletes_no_payment() -> None:
    privileges = load().roles["collection"]
    assert not [entry for entry in privileges if entry.cluster or entry.database]
    assert [entry.collection for entry in privileges if "remove" in entry.actions] == ["idempotencyKeys"]


def test_the_relay_writes_nothing() -> None:
    actions = {action for entry in load().roles["relay"] for action in entry.actions}
    assert actions == {"find", "changeStream", "collStats", "serverStatus"}


def test_truth_reads_nothing_but_the_documents() -> None:
    assert {entry.collection for entry in load().roles["truth"]} == {"payments", "merchants", "users"}


def test_answers_by_idempotency_key_live_for_a_day() -> None:
    (item,) = [item for item in load().collections if item.collection == "idempotencyKeys"]
    assert [index.expire_after_seconds for index in item.indexes] == [24 * 60 * 60]


def test_an_index_that_shards_can_not_keep_unique_is_a_plain_one_there() -> None:
    index = Index(name="userId", keys={"userId": 1}, unique=True)
    assert index.spec() == {"key": {"userId": 1}, "name": "userId", "unique": True}
    assert index.spec({"_id": "hashed"}) == {"key": {"userId": 1}, "name": "userId"}
    assert index.spec({"userId": 1}) == {"key": {"userId": 1}, "name": "userId", "unique": True}


def test_a_privilege_names_the_source_database_unless_it_names_another() -> None:
    assert Privilege(collection="payments", actions=["insert", "find"]).spec("shop") == {
        "resource": {"db": "shop", "collection": "payments"},
        "actions": ["find", "insert"],
    }
    assert Privilege(database="config", collection="shards", actions=["find"]).spec("shop")["resource"]["db"] == "config"
    assert Privilege(cluster=True, actions=["serverStatus"]).spec("shop")["resource"] == {"cluster": True}


def test_a_role_carries_the_name_of_its_database() -> None:
    assert role_name("relay", "commerce") == "millrace_relay_commerce"
