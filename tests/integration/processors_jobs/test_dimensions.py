"""Merchants and users as Debezium writes them: the newest of each in Cassandra, every version in the lake, in whatever order they come."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_contracts.documents import MERCHANTS, USERS
from millrace_contracts.topics import change_topic, dead_letter_topic
from millrace_processors import rollup_run, sources
from millrace_processors.dimensions import DimensionBatch
from tests.integration.processors.events import SECOND
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.support.merchants import SEOUL_BOOKS as BOOKS
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Record = tuple[str, str | None]
COLUMNS = "name, grade, country, region, city, business_type, time_zone, currency, status, version"


def written(name: str, at: int, document: dict[str, Any] | None = None, op: str = "u") -> Record:
    """A change of a merchant or user at an ordinal of one second, as Debezium's connectors write it: flattened, deletes rewritten."""
    marks = {"__op": "d" if document is None else op, "__deleted": document is None, "__source_ts_ms": SECOND * 1000, "__source_ord": at}
    return name, json.dumps({"_id": name, **(document or {}), **marks})


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
