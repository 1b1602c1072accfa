"""Merchants and users as Debezium writes them: the newest of each in Cassandra, every version in the lake, in whatever order they come."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_contracts.documents import MERCHANTS, USERS
from millrace_contracts.topics import change_topic, dead_letter_topic
from millrace_contracts.windows import from_ms
from millrace_processors import rollup_run, sources
from millrace_processors.dimensions import DimensionBatch
from millrace_processors.query.engine import Limits, SparkEngine
from millrace_processors.query.rewriting import Scope, rewrite
from tests.integration.processors.events import SECOND, token
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.support.merchants import SEOUL_BOOKS as BOOKS
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Record = tuple[str, str | None]
COLUMNS = "name, grade, country, region, city, business_type, time_zone, currency, status, version"


def written(name: str, at: int, document: dict[str, Any] | None = None, op: str = "u", operation: int | None = 0) -> Record:
    """A change of a merchant or user at an ordinal of one second, as Debezium's connectors write it: flattened, deletes rewritten.

    ``operation``: its place in its transaction, None for an event from before connectors told it.
    """
    marks = {"__op": "d" if document is None else op, "__deleted": document is None, "__source_ts_ms": SECOND * 1000, "__source_ord": at}
    order = {} if operation is None else {"__source_order": token(SECOND, at, operation)[18:50]}
    return name, json.dumps({"_id": name, **(document or {}), **marks, **order})


def version(at: int) -> int:
    return SECOND * 1_000_000 + at


class Topic:
    """The topic of a dimension and the query that reads it."""

    def __init__(self, pipeline: Pipeline, collection: str) -> None:
        self._pipeline, self._collection = pipeline, collection
        self._name = change_topic(pipeline.config.names, collection)
        admin = AdminClient({"bootstrap.servers": pipeline.config.kafka.bootstrap})
        for made in admin.create_topics([NewTopic(self._name, 1, 1)]).values():
            made.result(60)
        self._taken = 0

    def take(self, records: list[Record]) -> int:
        """Write records and take them through as one micro-batch; how many changes it held."""
        producer = Producer({"bootstrap.servers": self._pipeline.config.kafka.bootstrap})
        for key, value in records:
            producer.produce(self._name, value.encode() if value is not None else None, key.encode())
        assert producer.flush(60) == 0
        found = sources.read(self._pipeline.spark, self._pipeline.config.kafka, self._name).where(f"offset >= {self._taken}")
        taken = DimensionBatch(self._pipeline.config, self._pipeline.lake, self._collection).run(found, "q", self._taken)
        self._taken += len(records)
        return taken


def stored(pipeline: Pipeline) -> dict[str, tuple[Any, ...]]:
    rows = pipeline.session.execute(f"SELECT merchant_id, {COLUMNS} FROM {pipeline.config.names.keyspace}.merchants")
    return {row[0]: tuple(row[1:]) for row in rows}


def history(pipeline: Pipeline, table: str, key: str) -> set[tuple[str, int, bool]]:
    return {(row[0], row[1], row[2]) for row in pipeline.spark.table(table).select(key, "version", "deleted").collect()}


def test_the_newest_of_each_merchant_is_stored_and_every_version_kept_in_any_order(pipeline: Pipeline) -> None:  # I5 I7 I8
    topic = Topic(pipeline, MERCHANTS)
    moved = {**BOOKS, "location": {"country": "KR", "region": "26", "city": "Busan"}, "timeZone": "Asia/Tokyo"}
    bare = {"name": "Corner", "currency": "USD", "status": "active"}
    versions = [
        written("books", 1, BOOKS, "c"),
        written("books", 2, {**BOOKS, "grade": "platinum"}),
        written("books", 5, {name: value for name, value in moved.items() if name != "grade"}),  # a field that is gone
        written("gone", 3, BOOKS, "c"),
        written("gone", 4),
        ("gone", None),  # the tombstone behind a delete
        written("back", 6, BOOKS, "r"),
        written("back", 7),
        written("back", 8, bare, "c"),
    ]
    expected = {
        "books": ("Seoul Books", None, "KR", "26", "Busan", "books", "Asia/Tokyo", "KRW", "active", version(5)),
        "back": ("Corner", None, None, None, None, None, None, "USD", "active", version(8)),
    }
    kept = {("books", version(at), False) for at in (1, 2, 5)} | {("gone", version(3), False), ("gone", version(4), True)}
    kept |= {("back", version(at), at == 7) for at in (6, 7, 8)}

    assert topic.take(versions) == 8, "a tombstone is no change"
    assert stored(pipeline) == expected
    assert history(pipeline, pipeline.lake.merchants, "merchant_id") == kept

    # A new checkpoint replays them, cut otherwise and out of order: what is older never comes back.
    shuffled = random.Random(3).sample(versions, len(versions))
    for low in range(0, len(shuffled), 3):
        topic.take(shuffled[low : low + 3])
        assert stored(pipeline) == expected
    assert history(pipeline, pipeline.lake.merchants, "merchant_id") == kept, "the same versions once more"
    zones = rollup_run.zones_of(pipeline.lake, pipeline.lake.newest_of(pipeline.lake.merchants))
    assert {row[0]: row[1] for row in zones.collect() if row[1] is not None} == {"books": "Asia/Tokyo"}


OLD = {**BOOKS, "name": "Zebra", "timeZone": "Asia/Tokyo", "grade": "silver"}
CONTENTS = (OLD, {**{key: value for key, value in BOOKS.items() if key != "grade"}, "name": "Apple", "timeZone": "America/New_York"}, BOOKS)
"""By turns: the later one has the smaller texts, and lacks a field, so that no choice of the larger cell is right."""


def transactions() -> dict[str, list[tuple[str, dict[str, Any] | None]]]:
    """Every order of two and three changes of one document that MongoDB allows in a transaction, by a name that tells it."""
    found: dict[str, list[tuple[str, dict[str, Any] | None]]] = {}
    for length in (2, 3):
        for kinds in itertools.product(("insert", "update", "replace", "delete"), repeat=length):
            there = kinds[0] != "insert"
            steps: list[tuple[str, dict[str, Any] | None]] = []
            for kind, content in zip(kinds, CONTENTS, strict=False):
                if (kind == "insert") == there:
                    break
                there = kind != "delete"
                steps.append(("d", None) if kind == "delete" else ("c" if kind == "insert" else "u", content))
            else:
                found["-".join(kinds)] = steps
    return found


@pytest.mark.parametrize("told", [True, False], ids=["with-the-token", "from-before-the-token"])
def test_the_last_change_of_a_transaction_counts_for_every_reader(pipeline: Pipeline, told: bool) -> None:  # I5 I7
    topic = Topic(pipeline, MERCHANTS)
    events: dict[str, list[Record]] = {}
    holds: dict[str, dict[str, Any]] = {}
    for (kinds, steps), cut in itertools.product(transactions().items(), (0, 1, 2)):
        name = f"{kinds}/{cut}"
        made = [written(name, 1, {**BOOKS, "name": "Before"}, "c")] if kinds.startswith("insert") is False else []
        made += [written(name, 2, content, op, place if told else None) for place, (op, content) in enumerate(steps)]
        # The next ordinal of the same second: what counts for it must be later than all of the transaction's.
        made += [written(name, 3, {**BOOKS, "name": "After"}, "c")] if cut == 2 and steps[-1][1] is None else []
        events[name] = made
        if (last := json.loads(str(made[-1][1])))["__op"] != "d":
            holds[name] = last
    first = [record for name, made in events.items() for record in made[: max(len(made) - 1 - int(name[-1]), 1)]]
    rest = [record for name, made in events.items() for record in made[max(len(made) - 1 - int(name[-1]), 1) :]]
    topic.take(first)
    topic.take(rest)
    agreed(pipeline, holds)
    if told:  # the place in the topic is the order of a first delivery only
        again = random.Random(5).sample(first + rest, len(first + rest))
        topic.take(again[:40])
        agreed(pipeline, holds)
        topic.take(again[40:])
        agreed(pipeline, holds)


def agreed(pipeline: Pipeline, holds: dict[str, dict[str, Any]]) -> None:
    """Every reader of the merchants' history says what MongoDB holds."""
    lake = pipeline.lake
    zones = rollup_run.zones_of(lake, lake.newest_of(lake.merchants)).where("zone IS NOT NULL").collect()
    assert {row[0]: row[1] for row in zones} == {name: document["timeZone"] for name, document in holds.items()}
    in_cassandra = {name: (row[0], row[1], row[6]) for name, row in stored(pipeline).items()}
    expected = {name: (document["name"], document.get("grade"), document["timeZone"]) for name, document in holds.items()}
    assert in_cassandra == expected
    engine = SparkEngine(pipeline.spark, lake)
    scope = Scope(None, everything=True, start=from_ms(0), end=from_ms(1))
    statement = rewrite("SELECT merchant_id, name, grade, time_zone FROM merchants", scope, engine.sources().tables)
    answer = engine.run("job", "tenant", statement, Limits(1_000_000, 10_000, 10_000_000), lambda: False)
    assert {row[0]: row[1:] for row in zip(*answer.table.to_pydict().values(), strict=True)} == expected


def test_a_lake_from_before_the_order_gets_the_column_and_keeps_its_rows(pipeline: Pipeline) -> None:
    lake = pipeline.lake
    columns = "version bigint, deleted boolean, document string, seen_at timestamp"
    for table, key in ((lake.merchants, "merchant_id"), (lake.users, "user_key")):
        pipeline.spark.sql(f"DROP TABLE {table}")
        pipeline.spark.sql(f"CREATE TABLE {table} ({key} string, {columns}) USING iceberg")
        values = f"('old', {version(1)}, false, '{json.dumps({'_id': 'old', **OLD})}', current_timestamp())"
        pipeline.spark.sql(f"INSERT INTO {table} VALUES {values}")
    before = lake.newest_of(lake.merchants)
    assert {row.zone for row in rollup_run.zones_of(lake, before).collect()} == {"Asia/Tokyo"}, "a snapshot from before the column"

    lake.declare()
    agreed_old = {"old": OLD}
    zones = rollup_run.zones_of(lake, lake.newest_of(lake.merchants)).collect()
    assert {row[0]: row[1] for row in zones} == {name: document["timeZone"] for name, document in agreed_old.items()}
    assert {row.zone for row in rollup_run.zones_of(lake, before).collect()} == {"Asia/Tokyo"}
    newest = lake.newest_of(lake.merchants)
    lake.declare()
    assert lake.newest_of(lake.merchants) == newest, "once is enough"

    # The transaction of which the lake has one change already: its others are later.
    Topic(pipeline, MERCHANTS).take([written("old", 1, CONTENTS[1], "u", 1), written("new", 1, BOOKS, "c")])
    agreed(pipeline, {"old": CONTENTS[1], "new": BOOKS})
    assert history(pipeline, lake.merchants, "merchant_id") == {("old", version(1), False), ("new", version(1), False)}
    pipeline.merchant("from-before", "Asia/Seoul", version(9))  # a driver that does not know the column yet
    assert ("from-before", version(9), False) in history(pipeline, lake.merchants, "merchant_id")


def test_what_can_not_be_read_is_a_dead_letter_and_the_rest_counts(pipeline: Pipeline) -> None:  # I4
    topic = Topic(pipeline, MERCHANTS)
    nameless = json.dumps({"name": "x", "__op": "c", "__source_ts_ms": 1, "__source_ord": 1})
    timeless = json.dumps({"_id": "timeless", "__op": "c"})
    assert topic.take([("a", "{broken"), ("b", nameless), ("timeless", timeless), written("good", 1, BOOKS, "c")]) == 4
    assert set(stored(pipeline)) == {"good"}
    assert {name for name, _, _ in history(pipeline, pipeline.lake.merchants, "merchant_id")} == {"good"}
    letters = dead_letters(pipeline, 3)
    assert sorted(letter["reason"] for letter in letters) == [
        "__source_ts_ms is missing; expected milliseconds",
        "_id is missing; expected text",
        "_id is missing; expected text",
    ]
    assert {letter["payload"] for letter in letters} == {"{broken", nameless, timeless}
    assert {(letter["stage"], letter["collection"]) for letter in letters} == {("processors", "merchants")}


def test_a_field_of_another_type_is_a_dead_letter_that_names_it(pipeline: Pipeline) -> None:  # I4
    topic = Topic(pipeline, MERCHANTS)
    # As the connectors' pipeline writes what does not fit.
    misfits: dict[str, dict[str, Any]] = {
        "whole": {**BOOKS, "location": "array"},
        "number": {**BOOKS, "currency": {"int": "840"}},
        "inside": {**BOOKS, "location": {"country": {"array": None}}},
        "plain": {**BOOKS, "grade": 7},
    }
    fine = {"curly": {**BOOKS, "name": "{1} [2]"}, "bare": {"name": None, "location": None}}
    topic.take([written(name, at, document, "c") for at, (name, document) in enumerate({**misfits, **fine}.items(), 1)])
    assert set(stored(pipeline)) == set(fine)
    letters = dead_letters(pipeline, 4)
    assert {json.loads(letter["payload"])["_id"]: letter["reason"] for letter in letters} == {
        "whole": "location is array; expected an object",
        "number": 'currency is {"int":"840"}; expected text',
        "inside": 'location.country is {"array":null}; expected text',
        "plain": "grade is 7; expected text",
    }
    topic.take([written("whole", 9)])  # it can still be deleted
    assert ("whole", version(9), True) in history(pipeline, pipeline.lake.merchants, "merchant_id")


def test_users_go_to_the_lake_only(pipeline: Pipeline) -> None:
    topic = Topic(pipeline, USERS)
    changes = [written("u1", 1, {"gender": "female", "grade": "silver"}, "c"), written("u1", 2, {"grade": "gold"}), written("u2", 3)]
    assert topic.take(changes) == 3
    assert stored(pipeline) == {}
    assert history(pipeline, pipeline.lake.users, "user_key") == {
        ("u1", version(1), False),
        ("u1", version(2), False),
        ("u2", version(3), True),
    }
    newest = pipeline.spark.table(pipeline.lake.users).where(f"version = {version(2)}").first()
    assert newest is not None
    assert json.loads(newest.document)["grade"] == "gold"


def test_a_batch_that_runs_again_stores_the_same(pipeline: Pipeline) -> None:  # I5
    topic = Topic(pipeline, MERCHANTS)
    topic.take([written("books", 1, BOOKS, "c")])
    before = stored(pipeline)
    topic._taken = 0  # a driver that died behind its append
    topic.take([])
    assert stored(pipeline) == before
    assert history(pipeline, pipeline.lake.merchants, "merchant_id") == {("books", version(1), False)}


def dead_letters(pipeline: Pipeline, count: int) -> list[dict[str, Any]]:
    """The letters of the pipeline's dead-letter topic, once so many are there."""
    found: list[dict[str, Any]] = []
    consumer = Consumer({"bootstrap.servers": pipeline.config.kafka.bootstrap, "group.id": "letters", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(dead_letter_topic(pipeline.config.names), 0, 0)])

        def enough() -> bool:
            record = consumer.poll(1)
            if record is not None and record.error() is None and (value := record.value()) is not None:
                found.append(json.loads(value))
            return len(found) >= count

        wait_until(enough, 60, f"{count} dead letters")
    finally:
        consumer.close()
    return found
