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
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from millrace_cdc.connect.snapshots import filters
from millrace_cdc.topics_cli import topics
from tests.integration.cdc_connect.conftest import Record, Settings, read_topic, run
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
    misfits = [{"_id": f"{n}-{place}", **fine, place: value} for n, (_, value) in enumerate(TYPED) for place in ("location", "name")]
    misfits += [{"_id": f"{n}-inside", **fine, "location": {"city": value, "more": value}} for n, (_, value) in enumerate(TYPED)]
    users = [{"_id": f"{n}-device", **user, "userId": str(n), "device": value} for n, (_, value) in enumerate(TYPED)]
    written = {"merchants": [*misfits, {"_id": "last", **fine}], "users": [*users, {"_id": "last", **user, "userId": "last"}]}
    left_out = before_the_snapshot(environ, database, records, written)
    for collection, made in written.items():
        database.command("insert", collection, documents=made, bypassDocumentValidation=True)
        database[collection].delete_one({"_id": made[10]["_id"]})
        seen = 2 * len(made) - len(left_out[collection])
        found = [record.key for record in records(collection, seen + 2)][seen - len(made) :]
        assert found == [*(each["_id"] for each in made), made[10]["_id"], made[10]["_id"]]
    seen = 2 * len(written["merchants"]) - len(left_out["merchants"]) + 2
    told = {record.key: record.value for record in records("merchants", seen) if record.value}
    array = next(n for n, (_, value) in enumerate(TYPED) if value == [1, "a", {"x": 1}])
    assert told[f"{array}-location"]["location"] == "array"
    assert told[f"{array}-name"]["name"] == {"array": None}
    assert told["last"]["name"] == "M"
    assert {row["state"] for row in json.loads(run(environ, "status", "--json", "merchants", "users").output)["connectors"]} == {"RUNNING"}


def before_the_snapshot(
    environ: Settings, database: Any, records: Callable[..., list[Record]], written: dict[str, list[dict[str, Any]]]
) -> dict[str, set[str]]:
    """The same documents were there before: each is read by the snapshot or is a dead letter. The ids of the latter."""
    for collection, made in written.items():
        early = [{**each, "_id": f"early-{each['_id']}", "userId": f"early-{each['_id']}"} for each in made]
        database.command("insert", collection, documents=early, bypassDocumentValidation=True)
    assert CliRunner().invoke(topics, ["apply"], obj=environ, standalone_mode=False).return_value == 0
    applied = json.loads(run(environ, "apply", "--json").output)
    told = read_topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.dead-letters", 1, 180)
    letters = {(letter.value["collection"], letter.key): letter.value["reason"] for letter in told if letter.value}
    assert len(letters) == len(told)
    left_out = {}
    for collection, made in written.items():
        left_out[collection] = {key for name, key in letters if name == collection and key is not None}
        expected = {f"early-{each['_id']}" for each in made}
        found = [record.key for record in records(collection, len(expected - left_out[collection]))]
        assert len(found) == len(set(found))
        assert set(found) | left_out[collection] == expected
        assert not set(found) & left_out[collection]
        assert any(f"snapshots leave out of {collection}: " in note for note in applied["notes"])
    array = next(n for n, (_, value) in enumerate(TYPED) if value == [1, "a", {"x": 1}])
    assert letters["merchants", f"early-{array}-location"].startswith("location is of type array in a form that a snapshot cannot read")
    assert letters["merchants", f"early-{array}-inside"].startswith("location is of type object")
    assert letters["users", f"early-{array}-device"].startswith("device is of type array")
    plain = {n for n, (kind, _) in enumerate(TYPED) if kind in ("string", "int", "long", "double", "bool", "objectId", "date", "null")}
    assert not {f"early-{n}-{place}" for n in plain for place in ("name", "inside", "location")} & left_out["merchants"]
    return left_out


def taken(value: Any, depth: int = 3) -> bool:
    """Whether the converter takes a value, in Python's own types: by hand, beside the filter's rule in MongoDB."""
    if isinstance(value, dict):
        named = all(name and not name.startswith("$") for name in value)
        return depth > 0 and named and all(taken(inner, depth - 1) for inner in value.values())
    if isinstance(value, list):
        forms = [form(each) for each in value]
        return None not in forms and all(each == forms[0] for each in forms)
    return form(value) is not None


def form(value: Any) -> Any:
    """What the elements of an array have in common; None for what the converter does not take in one."""
    if isinstance(value, dict):
        fields = [(name, form(inner)) for name, inner in value.items()]
        return None if any(not name or name[0] == "$" or not isinstance(kind, str) for name, kind in fields) else fields
    kinds = (bool, "bool"), (Int64, "long"), (int, "int"), (float, "double"), (Code, None), (str, "string"), (ObjectId, "objectId")
    return (
        "null"
        if value is None
        else next((name for kind, name in (*kinds, (datetime, "date"), (DatetimeMS, "date")) if isinstance(value, kind)), None)
    )


NESTED = st.recursive(
    VALUES.map(lambda typed: typed[1].as_doc() if isinstance(typed[1], DBRef) else typed[1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "", "$x", "c.d"]), inner, max_size=2),
    max_leaves=6,
)


@given(found=st.lists(st.dictionaries(st.sampled_from(["name", "location", "note", ""]), NESTED, max_size=3), min_size=1, max_size=30))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large])
def test_a_snapshots_filter_takes_what_the_converter_takes_and_names_the_rest(
    events: Collection[Any], found: list[dict[str, Any]]
) -> None:  # I4
    events.delete_many({})
    events.insert_many([{"_id": f"{n}", **document} for n, document in enumerate(found)])
    expected = {f"{n}" for n, document in enumerate(found) if taken(document, 4)}
    assert {row["_id"] for row in events.find(filters.fits(), {"_id": 1})} == expected
    named = {row["_id"]: row["misfit"]["field"] for row in events.aggregate(filters.misfits())}
    first = {
        f"{n}": next(name for name, value in document.items() if not name or not taken(value))
        for n, document in enumerate(found)
        if f"{n}" not in expected
    }
    assert named == first
