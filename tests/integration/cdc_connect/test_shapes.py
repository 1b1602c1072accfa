"""What the connectors' pipelines make of documents of any shape: what the converter behind them takes, with the wrong fields named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.integration.cdc_connect.conftest import Record, Settings, run
from tests.support.examples import examples
from tests.support.servers import unique_names

pytestmark = pytest.mark.stack

SHIPPED = Path(__file__).parents[3] / "connect-config"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOKEN = "8269A3D28C000000022B022C01002B046E5A100464FBAFAE09AF4C0A"
TYPED: list[tuple[str, Any]] = [
    ("string", "a"), ("string", "x\u0000y"), ("int", 42), ("long", Int64(5)), ("double", 1.5), ("double", float("nan")),
    ("double", float("inf")), ("bool", True), ("decimal", Decimal128("1.5")), ("decimal", Decimal128("NaN")), ("objectId", ObjectId()),
    ("date", NOW), ("date", DatetimeMS(253_402_300_800_000)), ("date", DatetimeMS(-(10**17))), ("timestamp", Timestamp(5, 6)),
    ("binData", Binary(b"abc")), ("binData", Binary(b"a" * 16, 4)), ("regex", Regex("a", "i")), ("javascript", Code("x")),
    ("javascriptWithScope", Code("x", {"a": 1})), ("minKey", MinKey()), ("maxKey", MaxKey()), ("object", DBRef("c", 1)),
    ("object", {}), ("object", {"id": "x"}), ("object", {"$oid": "zz"}), ("object", {"$numberLong": "abc"}), ("object", {"": 1}),
    ("object", {"a.b": 1}), ("array", []), ("array", [1, "a", {"x": 1}]), ("array", [[1], ["a", [2.5, {"y": []}]]]),
    ("array", [{"a": 1}, {"a": "x"}]), ("array", [None, 1]), ("null", None),
]  # fmt: skip
"""Values of every BSON type that can be written, with MongoDB's name of the type."""
VALUES = st.sampled_from(TYPED)
MISSING = ("missing", None)
FIELDS = {
    "merchants": {
        "text": ("name", "grade", "businessType", "timeZone", "currency", "status"),
        "date": ("createdAt", "updatedAt"),
        "location": ("country", "region", "city"),
    },
    "users": {"text": ("gender", "country", "grade"), "date": ("createdAt", "updatedAt"), "device": ("type", "os")},
}
Shaped = dict[str, Any]


@pytest.fixture(scope="module")
def events(mongo_server: dict[str, str]) -> Iterator[Collection[Any]]:
    with MongoClient[Any](mongo_server["MILLRACE_MONGO_ADMIN_URI"], tz_aware=True) as client:
        name = unique_names()["MILLRACE_NAMES_DATABASE"]
        yield client[name].get_collection("events", codec_options=client[name].codec_options.with_options(datetime_conversion=4))
        client.drop_database(name)


def documents(collection: str) -> st.SearchStrategy[dict[str, tuple[str, Any]]]:
    """Dotted path -> (type, value) of the fields that are there."""
    own = FIELDS[collection]
    (nested,) = own.keys() - {"text", "date"}
    paths = [*own["text"], *own["date"], *(f"{nested}.{name}" for name in own[nested])]
    inside = st.fixed_dictionaries({path: VALUES | st.just(MISSING) for path in paths})
    return st.one_of(inside, st.builds(lambda found, whole: {**found, nested: whole}, inside, VALUES))


def built(fields: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """The document; a field that is given whole stands for those inside of it."""
    made: dict[str, Any] = {"_id": "m"}
    for path, (kind, value) in fields.items():
        outer, _, inner = path.partition(".")
        if kind == "missing" or (inner and outer in fields):
            continue
        if inner:
            made.setdefault(outer, {})[inner] = value
        else:
            made[outer] = value
    return made


def through(events: Collection[Any], collection: str, images: list[Any]) -> list[Shaped]:
    """What the connector's last stages make of events with these images."""
    stages = json.loads((SHIPPED / f"{collection}.json").read_text())["config"]["cursor.pipeline"][2:]
    events.delete_many({})
    told = {"ns": {"coll": collection}, "documentKey": {"_id": "m"}}
    events.insert_many([{"_id": {"_data": TOKEN, "n": n}, **told, "fullDocument": image} for n, image in enumerate(images)])
    return [row["fullDocument"] for row in events.aggregate([{"$sort": {"_id.n": 1}}, *stages])]


def fits(collection: str, path: str, kind: str) -> bool:
    own = FIELDS[collection]
    return kind in ("null", "missing", "date" if path in own["date"] else "string")


@pytest.mark.parametrize("collection", ["merchants", "users"])
@given(data=st.data())
@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large])
def test_what_fits_stays_and_what_does_not_says_its_type(events: Collection[Any], collection: str, data: st.DataObject) -> None:  # I4
    cases = data.draw(st.lists(documents(collection), min_size=1, max_size=12))
    for fields, found in zip(cases, through(events, collection, [built(fields) for fields in cases]), strict=True):
        document = built(fields)
        assert found.pop("__source_order") == TOKEN[18:50]
        assert found.pop("_id") == "m"
        for path, (kind, _) in fields.items():
            outer, _, inner = path.partition(".")
            if inner and not isinstance(document.get(outer), dict):
                continue
            if inner and outer in fields:
                continue
            place, source = (found[outer], document[outer]) if inner and outer in document else (found, document)
            name = inner if inner and outer in document else path
            if kind == "missing":
                assert name not in place
            elif not inner and path in FIELDS[collection]:
                whole(place[name], kind)
            elif fits(collection, path, kind):
                assert place[name] == source[name]
            else:
                ((told, text),) = place[name].items()
                assert (told, type(text)) in {(kind, str), (kind, type(None))}


def whole(found: Any, kind: str) -> None:
    """Of an object only what is known of it passes; what is no object is a text, or null where it is null."""
    if kind == "object":
        assert found == {}
    elif kind == "null":
        assert found is None
    else:
        assert isinstance(found, str)


def test_a_payments_fields_and_refunds_are_of_one_type_each(events: Collection[Any]) -> None:
    refund = {"id": "r1", "amount": 1, "refundedAt": NOW}
    good = {
        "_id": "p", "merchantId": "m", "amount": 5, "currency": "EUR", "method": "card", "points": {"used": 0, "earned": Int64(1)},
        "user": {"key": "k", "device": {"type": "pos"}}, "status": "succeeded", "paidAt": NOW,
        "refunds": [refund, {**refund, "id": "r2", "amount": Int64(2**40)}], "schemaVersion": 1,
    }  # fmt: skip
    mixed: list[Any] = [[refund, {**refund, "id": 7}], [refund, 1], [{"id": "r1"}, refund], [[refund]], 5, "none", {"id": "x"}]
    images = [good, {**good, "refunds": []}, *({**good, "refunds": each} for each in mixed), {**good, "amount": [1], "user": [1, "a"]}]
    found = through(events, "payments", images)
    for image in found:
        assert image.pop("__source_order") == TOKEN[18:50]
    assert found[0] == good
    assert found[1] == {**good, "refunds": []}
    assert [image["refunds"] for image in found[2:-1]] == ["array"] * 4 + ["5", "none", "object"]
    assert found[-1] == {**good, "amount": {"array": None}, "user": "array"}


def test_an_image_that_is_not_there_stays_so_and_other_collections_are_left_alone(events: Collection[Any]) -> None:
    assert through(events, "merchants", [None]) == [None]
    stages = json.loads((SHIPPED / "merchants.json").read_text())["config"]["cursor.pipeline"][2:]
    signal = {"ns": {"coll": "debeziumSignals"}, "documentKey": {"_id": 1}, "fullDocument": {"_id": 1, "type": "log", "data": "{}"}}
    events.delete_many({})
    events.insert_many([{"_id": {"_data": TOKEN}, **signal}, {"_id": {"_data": TOKEN + "1"}, "ns": {"coll": "merchants"}}])
    first, dropped = events.aggregate([{"$sort": {"_id": 1}}, *stages])
    assert {name: first[name] for name in signal} == signal
    assert dropped.keys() == {"_id", "ns"}


def test_an_id_that_no_key_can_hold_is_named_by_its_type(events: Collection[Any]) -> None:
    stages = json.loads((SHIPPED / "merchants.json").read_text())["config"]["cursor.pipeline"][2:]
    for kind, value in TYPED:
        if kind in ("array", "regex"):  # MongoDB itself refuses them as an id
            continue
        events.delete_many({})
        events.insert_one(
            {"_id": {"_data": TOKEN}, "ns": {"coll": "merchants"}, "documentKey": {"_id": value}, "fullDocument": {"_id": value}}
        )
        (found,) = events.aggregate(stages)
        plain = kind in {"string", "objectId", "int", "long", "double", "decimal", "bool", "date", "binData"}
        if plain and kind != "binData" and value == value:
            assert found["documentKey"]["_id"] == value
        if not plain:
            assert found["documentKey"] == {"_id": f"of type {kind}"}
        if kind != "string":
            assert list(found["fullDocument"]["_id"] or {}) == ([] if kind == "null" else [kind])


def test_no_document_stops_a_connector(environ: Settings, database: Any, records: Callable[..., list[Record]]) -> None:  # I4
    fine = {"name": "M", "currency": "EUR", "timeZone": "UTC", "status": "active", "createdAt": NOW, "updatedAt": NOW, "schemaVersion": 1}
    user = {"createdAt": NOW, "updatedAt": NOW, "schemaVersion": 1}
    database.merchants.insert_one({"_id": "early", **fine})
    database.command("insert", "users", documents=[{"_id": "early", **user}], bypassDocumentValidation=True)
    assert run(environ, "apply").return_value == 0
    for collection in ("merchants", "users"):
        records(collection, 1)
    misfits = [{"_id": f"{n}-{place}", **fine, place: value} for n, (_, value) in enumerate(TYPED) for place in ("location", "name")]
    misfits += [{"_id": f"{n}-inside", **fine, "location": {"city": value, "more": value}} for n, (_, value) in enumerate(TYPED)]
    users = [{"_id": f"{n}-device", **user, "userId": str(n), "device": value} for n, (_, value) in enumerate(TYPED)]
    for collection, made in (
        ("merchants", [*misfits, {"_id": "last", **fine}]),
        ("users", [*users, {"_id": "last", **user, "userId": "last"}]),
    ):
        database.command("insert", collection, documents=made, bypassDocumentValidation=True)
        database[collection].delete_one({"_id": made[10]["_id"]})
        found = records(collection, len(made) + 3)
        assert [record.key for record in found] == ["early", *(each["_id"] for each in made), made[10]["_id"], made[10]["_id"]]
    told = {record.key: record.value for record in records("merchants", len(misfits) + 4) if record.value}
    array = next(n for n, (_, value) in enumerate(TYPED) if value == [1, "a", {"x": 1}])
    assert told[f"{array}-location"]["location"] == "array"
    assert told[f"{array}-name"]["name"] == {"array": None}
    assert told["last"]["name"] == "M"
    assert {row["state"] for row in json.loads(run(environ, "status", "--json", "merchants", "users").output)["connectors"]} == {"RUNNING"}
