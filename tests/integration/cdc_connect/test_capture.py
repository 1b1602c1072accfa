"""What connect-config/ declares, on real MongoDB, Kafka, Kafka Connect and Debezium: what arrives, and what never does (I12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.client_session import ClientSession

from millrace_contracts.documents import MERCHANT_CAPTURED_FIELDS, USER_SENSITIVE_FIELDS
from tests.integration.cdc_connect.conftest import Record, Settings, client_of, run
from tests.support.merchants import SEOUL_BOOKS

pytestmark = pytest.mark.stack

CREATED = datetime(2026, 3, 1, 9, 30, 0, 250_000, tzinfo=UTC)
CREATED_MS = 1_772_357_400_250
SECRETS = ["leaky@example.org", "Lea Leaky", "+821012345678", "RAW-USER-ID", "1987", "new@example.org"]
USER = "c" * 22
MERCHANT = {
    **SEOUL_BOOKS,
    "createdAt": CREATED,
    "updatedAt": CREATED,
    "schemaVersion": 1,
}


@pytest.fixture(scope="module")
def applied(environ: Settings, database: Any, passwords: list[str], records: Callable[..., list[Record]]) -> Settings:
    # One merchant and one user are there before the connectors: they come by the snapshot.
    database.merchants.insert_one({"_id": "early", **MERCHANT, "ownerEmail": SECRETS[0]})
    database.users.insert_one({"_id": "e" * 22, **user()})
    first = run(environ, "apply")
    assert first.return_value == 0, first.output
    assert not [password for password in passwords if password in first.output]
    # What is written while Debezium finds the place where its stream begins can be part of the snapshot instead of an event.
    records("merchants", 1)
    records("users", 1)
    return environ


def user() -> dict[str, Any]:
    return {
        "userId": "RAW-USER-ID" + str(datetime.now(UTC).timestamp()),
        "email": SECRETS[0],
        "name": SECRETS[1],
        "phone": SECRETS[2],
        "dateOfBirth": datetime(1987, 5, 1, tzinfo=UTC),
        "gender": "female",
        "country": "KR",
        "grade": "silver",
        "device": {"type": "mobile", "os": "Android"},
        "createdAt": CREATED,
        "updatedAt": CREATED,
        "schemaVersion": 1,
    }


@pytest.fixture(scope="module")
def merchants(applied: Settings, database: Any, records: Callable[..., list[Record]]) -> list[Record]:
    database.merchants.insert_one({"_id": "m1", **MERCHANT, "ownerEmail": SECRETS[0]})
    database.merchants.update_one({"_id": "m1"}, {"$set": {"grade": "platinum", "location.city": "Busan"}})
    database.merchants.delete_one({"_id": "m1"})
    return records("merchants", 5)


@pytest.fixture(scope="module")
def users(applied: Settings, database: Any, records: Callable[..., list[Record]]) -> list[Record]:
    database.users.insert_one({"_id": USER, **user()})
    database.users.update_one({"_id": USER}, {"$set": {"email": SECRETS[5], "grade": "gold"}})
    database.users.delete_one({"_id": USER})
    return records("users", 5)


def test_a_merchant_arrives_flattened_under_its_id(merchants: list[Record]) -> None:
    created = next(record for record in merchants if record.key == "m1")
    assert created.value is not None
    document = {name: value for name, value in created.value.items() if not name.startswith("__")}
    expected = {"_id": "m1", **MERCHANT, "createdAt": CREATED_MS, "updatedAt": CREATED_MS}
    assert document == {name: value for name, value in expected.items() if name != "schemaVersion"}
    assert document.keys() == set(MERCHANT_CAPTURED_FIELDS)
    assert created.value["__op"] == "c"
    assert created.value["__deleted"] is False
    assert created.headers == {"millrace-kind": "change", "schema-version": "1", "content-type": "application/json"}


def test_versions_are_cluster_times_and_grow(merchants: list[Record]) -> None:
    versions = [
        (record.value["__source_ts_ms"], record.value["__source_ord"]) for record in merchants if record.key == "m1" and record.value
    ]
    assert versions == sorted(set(versions))
    assert all(ms % 1000 == 0 and ordinal > 0 for ms, ordinal in versions), "the cluster time, not the wall clock of the server"


def test_changes_of_one_transaction_carry_the_order_of_their_resume_tokens(
    environ: Settings, database: Any, records: Callable[..., list[Record]], merchants: list[Record]
) -> None:  # I5
    def write(session: ClientSession) -> None:
        database.merchants.insert_one({"_id": "t", **MERCHANT}, session=session)
        database.users.update_one({"_id": "e" * 22}, {"$set": {"grade": "gold"}}, session=session)  # of the other connector
        database.merchants.update_one({"_id": "t"}, {"$set": {"name": "Zebra"}}, session=session)
        database.merchants.delete_one({"_id": "t"}, session=session)
        database.merchants.insert_one({"_id": "t", **MERCHANT, "name": "Apple"}, session=session)

    with database.watch([{"$match": {"ns.coll": "merchants"}}]) as stream, database.client.start_session() as session:
        session.with_transaction(write)
        tokens = [stream.next()["_id"]["_data"] for _ in range(4)]
    changes = [record.value for record in records("merchants", len(merchants) + 5) if record.key == "t" and record.value]
    assert [(value["__op"], value["name"]) for value in changes] == [
        ("c", "Seoul Books"), ("u", "Zebra"), ("d", "Zebra"), ("c", "Apple")
    ]  # fmt: skip
    orders = [value["__source_order"] for value in changes]
    assert orders == [token[18:50] for token in tokens]
    assert orders == sorted(set(orders))
    assert len({(value["__source_ts_ms"], value["__source_ord"]) for value in changes}) == 1, "their version alone does not tell"


def test_an_update_carries_its_post_image(merchants: list[Record]) -> None:
    updated = [record.value for record in merchants if record.key == "m1" and record.value and record.value["__op"] == "u"]
    assert [(value["grade"], value["location"]["city"]) for value in updated] == [("platinum", "Busan")]


@pytest.mark.parametrize("collection", ["merchants", "users"])
def test_a_delete_arrives_rewritten_and_is_followed_by_a_tombstone(collection: str, request: pytest.FixtureRequest) -> None:
    found: list[Record] = request.getfixturevalue(collection)
    key = "m1" if collection == "merchants" else USER
    deleted, tombstone = [record for record in found if record.key == key][-2:]
    assert deleted.value is not None
    assert (deleted.value["_id"], deleted.value["__op"], deleted.value["__deleted"]) == (key, "d", True)
    assert tombstone.value is None


def test_what_was_there_before_comes_by_the_snapshot(merchants: list[Record], users: list[Record]) -> None:
    assert (merchants[0].key, merchants[0].value["__op"]) == ("early", "r")  # type: ignore[index]
    assert (users[0].key, users[0].value["__op"]) == ("e" * 22, "r")  # type: ignore[index]


def test_no_personal_field_leaves_by_snapshot_insert_update_or_delete(users: list[Record], merchants: list[Record]) -> None:
    # I12
    assert {record.value["__op"] for record in users if record.value} == {"r", "c", "u", "d"}
    for record in [*users, *merchants]:
        text = (record.key or "") + record.raw.decode() + json.dumps(record.headers)
        assert not [secret for secret in SECRETS if secret in text], text
        assert not set(record.value or {}) & {*USER_SENSITIVE_FIELDS, "ownerEmail"} - ({"name"} if record in merchants else set())


def test_the_server_itself_keeps_personal_fields_back(environ: Settings, database: Any) -> None:
    # The pipeline of the file, run without Debezium: what crosses the wire has no personal field (I12).
    pipeline = json.loads((Path(__file__).parents[3] / "connect-config" / "users.json").read_text())["config"]["cursor.pipeline"]
    with (
        MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_DEBEZIUM_URI"]) as client,
        client[database.name].watch(pipeline, full_document="whenAvailable", full_document_before_change="whenAvailable") as stream,
    ):
        database.users.insert_one({"_id": "w" * 22, **user()})
        database.users.update_one({"_id": "w" * 22}, {"$set": {"email": SECRETS[5], "grade": "gold"}})
        database.users.delete_one({"_id": "w" * 22})
        database.merchants.insert_one({"_id": "other", **MERCHANT})
        database.debeziumSignals.insert_one({"type": "log", "data": "{}"})
        seen = [stream.next() for _ in range(4)]
    assert [event["operationType"] for event in seen] == ["insert", "update", "delete", "insert"]
    assert [event["ns"]["coll"] for event in seen] == ["users"] * 3 + ["debeziumSignals"]
    assert [event["fullDocument"]["grade"] for event in seen[:2]] == ["silver", "gold"]
    assert seen[3]["fullDocument"].keys() == {"_id", "type", "data"}
    assert not [secret for secret in SECRETS if secret in str(seen)]


def test_a_second_apply_changes_nothing(applied: Settings, merchants: list[Record]) -> None:
    again = run(applied, "apply", "--json")
    assert again.return_value == 0
    assert json.loads(again.output)["applied"] == []
    assert json.loads(again.output)["left"] == []
    assert run(applied, "plan").return_value == 0
    status = run(applied, "status", "--json", "merchants", "users")
    assert status.return_value == 0
    assert {row["state"] for row in json.loads(status.output)["connectors"]} == {"RUNNING"}


def test_no_secret_is_stored_in_the_cluster_or_printed(applied: Settings, passwords: list[str]) -> None:
    with client_of(applied) as client:
        for name in client.names():
            stored = json.dumps([client.config(name), [task.config for task in client.tasks(name)]])
            assert not [password for password in passwords if password in stored]
    changed = {**applied, "MILLRACE_CONNECT_ENABLE": "payments"}
    for command in (["plan"], ["plan", "--json"], ["status"], ["status", "--json"]):
        output = run(changed, *command).output
        assert not [password for password in passwords if password in output]
