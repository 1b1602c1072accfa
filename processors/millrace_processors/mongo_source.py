"""MongoDB itself as a source: the payments as they are at one cluster time, in ranges of ``_id``, one a task of Spark.

Only the captured fields leave it (I12), and only a user who may do nothing but read is asked for (MILLRACE_MONGO_TRUTH_URI). MongoDB keeps
the past for some minutes only: what is left of a range that took longer is read at a newer time, and every event says at which.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from bson import Timestamp, json_util
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pyspark.sql import DataFrame, SparkSession

from millrace_contracts.documents import PAYMENT_CAPTURED_FIELDS, PAYMENTS
from millrace_contracts.values.bson_json import RAW
from millrace_processors import mongo_images
from millrace_processors.errors import CommandError, UnavailableError
from millrace_processors.mongo_images import Time
from millrace_processors.settings import Config, SourceSettings

DOCUMENTS_PER_RANGE = 100_000
SAMPLE_PER_RANGE = 10
MOST_RANGES = 10_000
TOO_OLD = frozenset([239, 246])
"""SnapshotTooOld and SnapshotUnavailable: MongoDB no longer knows the time that was asked for."""
UNAUTHORIZED = frozenset([13, 18])
OPTIONS: dict[str, Any] = {"serverSelectionTimeoutMS": 30_000, "connectTimeoutMS": 5_000, "appname": "millrace-process"}
"""Of a connection whose URI does not say otherwise."""
_BATCH = 5_000
_RECORDS = "key binary, value binary, topic string, partition int, offset bigint"
_SCHEMA = pa.schema(
    [("key", pa.binary()), ("value", pa.binary()), ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())]
)
Range = tuple[str | None, str | None]
"""[lower, upper) of ids in canonical extended JSON; None is open."""
Db = Database[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What is read and how it is cut; travels to the workers. ``at``: the cluster time, ``filter``: MongoDB's, in extended JSON."""

    uri: str
    database: str
    at: Time
    filter: str
    ranges: tuple[Range, ...]


@contextmanager
def opened(config: Config) -> Iterator[Db]:
    """The source database, with MongoDB's refusals in words.

    Raises:
        CommandError: no user is named, or MongoDB refuses it.
        UnavailableError: MongoDB does not answer.
    """
    uri = config.source.truth_uri
    if not uri:
        variable = SourceSettings.variable("truth_uri")
        raise CommandError(
            f"{variable} is not set: name MongoDB as a user that only reads, such as the one that `millrace mongo-init` makes"
        )
    with _worded(), _connected(uri) as client:
        yield client[config.names.database]


@contextmanager
def _worded() -> Iterator[None]:
    try:
        yield
    except OperationFailure as error:
        if error.code in UNAUTHORIZED:
            raise CommandError(
                f"MongoDB refuses the user of {SourceSettings.variable('truth_uri')}; run `millrace mongo-init apply`"
            ) from None
        raise UnavailableError(f"MongoDB refused to read: {error}") from None
    except (ConfigurationError, ValueError) as error:
        raise CommandError(f"{SourceSettings.variable('truth_uri')}: {error}") from None
    except PyMongoError as error:
        raise UnavailableError(f"MongoDB does not answer ({str(error)[:200]}); is the stack up?") from None


def _connected(uri: str) -> MongoClient[dict[str, Any]]:
    named = {name.lower() for name, _ in parse_qsl(urlsplit(uri).query)}  # an argument would win over what the URI says
    return MongoClient(uri, **{name: value for name, value in OPTIONS.items() if name.lower() not in named})


def now(database: Db) -> Time:
    """The newest cluster time that can be read at."""
    nothing = {"find": PAYMENTS, "filter": {"_id": None}, "readConcern": {"level": "snapshot"}}
    at = database.command(nothing)["cursor"]["atClusterTime"]
    return at.time, at.inc


def plan(config: Config, database: Db, wanted: Mapping[str, Any], per_range: int = DOCUMENTS_PER_RANGE) -> Plan:
    """Fix the cluster time and cut the ``_id`` index into ranges of about equal size, by a sample."""
    payments, at = database[PAYMENTS], now(database)
    ranges = min(-(-payments.estimated_document_count() // per_range), MOST_RANGES)
    bounds: list[str] = []
    if ranges > 1:
        sample = [{"$sample": {"size": ranges * SAMPLE_PER_RANGE}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}]
        ids = [_text({"_id": row["_id"]}) for row in payments.aggregate(sample, allowDiskUse=True)]
        bounds = list(dict.fromkeys(ids[SAMPLE_PER_RANGE::SAMPLE_PER_RANGE]))
    cut = tuple(pairwise([None, *bounds, None]))
    return Plan(config.source.truth_uri, config.names.database, at, _text(wanted), cut)


def records(session: SparkSession, made: Plan) -> DataFrame:
    """The payments as Kafka's columns of op r events, as decoding.decode takes them; read where the tasks run, a range each."""
    count = len(made.ranges)
    return session.range(0, count, 1, count).mapInArrow(functools.partial(_task, made), _RECORDS)


def _task(made: Plan, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with _connected(made.uri) as client:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                for documents, at in read(client[made.database], made, made.ranges[number]):
                    found = mongo_images.events(documents, made.database, at)
                    yield pa.RecordBatch.from_pylist([{"key": key, "value": value} for key, value in found], _SCHEMA)


def read(database: Db, made: Plan, within: Range) -> Iterator[tuple[list[RawBSONDocument], Time]]:
    """The documents of a range, portion by portion, and the cluster time that each portion is of."""
    (lower, upper), at, last = within, made.at, None
    while True:
        try:
            for portion in _portions(database, _find(made, (last or lower, upper), at)):
                # The bound is inclusive: where the read went on, the last document comes again.
                kept = portion[1:] if last is not None and _id_text(portion[0]) == last else portion
                if kept:
                    yield kept, at
                    last = _id_text(kept[-1])
            return
        except OperationFailure as error:
            if error.code not in TOO_OLD:
                raise
        at = now(database)


def _find(made: Plan, within: Range, at: Time) -> dict[str, Any]:
    lower, upper = within
    command: dict[str, Any] = {
        "find": PAYMENTS,
        "filter": _value(made.filter),
        # Bounds of the index compare whole values, also of different types; a filter on _id would be limited to one type.
        "hint": {"_id": 1},
        "projection": dict.fromkeys(PAYMENT_CAPTURED_FIELDS, 1),
        "batchSize": _BATCH,
        "readConcern": {"level": "snapshot", "atClusterTime": Timestamp(*at)},
    }
    return command | {name: _value(bound) for name, bound in (("min", lower), ("max", upper)) if bound is not None}


def _portions(database: Db, command: dict[str, Any]) -> Iterator[list[RawBSONDocument]]:
    with database.client.start_session(causal_consistency=False) as session:
        reply, name = database.command(command, codec_options=RAW, session=session), "firstBatch"
        while True:
            cursor = reply["cursor"]
            if cursor[name]:
                yield list(cursor[name])
            if not cursor["id"]:
                return
            more = {"getMore": cursor["id"], "collection": PAYMENTS, "batchSize": _BATCH}
            reply, name = database.command(more, codec_options=RAW, session=session), "nextBatch"


def _id_text(document: RawBSONDocument) -> str:
    return _text({"_id": document["_id"]})


def _text(value: Mapping[str, Any]) -> str:
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)


def _value(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json_util.loads(text, json_options=json_util.CANONICAL_JSON_OPTIONS)
    return found
