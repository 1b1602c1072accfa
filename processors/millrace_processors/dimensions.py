"""The dimensions: merchants and users as Debezium's connectors write them (flattened, deletes rewritten).

Merchants go to Cassandra, where the newest version of each wins, and with their whole history to the lake; users, who travel without
any personal field (I12), to the lake only.

The order of a document's changes is (``version``, ``version_order``). ``version`` is the cluster time in microseconds: its second,
and its ordinal as the fraction. All changes of one transaction have the same. ``version_order`` tells them apart: the resume token's
own order, as of a payment's facts. An event that was written before connectors sent it has its place in the topic instead, which
sorts before every token. A snapshot read has "", which sorts first. In a lake from before the column it is null, which counts as "".
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from millrace_contracts.documents import MERCHANTS, USERS
from millrace_contracts.reports import MERCHANTS_TABLE
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.topics import dead_letter_topic
from millrace_processors import deadletters, decoding, report_store
from millrace_processors.lake import Lake
from millrace_processors.parts import making, whose
from millrace_processors.settings import Config

MERCHANT_COLUMNS = {
    "name": "name", "grade": "grade", "country": "location.country", "region": "location.region", "city": "location.city",
    "business_type": "businessType", "time_zone": "timeZone", "currency": "currency", "status": "status",
}  # fmt: skip
"""Column of the merchants table -> path in the document."""


TEXTS = {MERCHANTS: ("_id", *MERCHANT_COLUMNS.values()), USERS: ("_id", "gender", "country", "grade", "device.type", "device.os")}
OBJECTS = {MERCHANTS: ("location",), USERS: ("device",)}
"""What has to be a text or an object where it is there. The connectors write the type of anything else in its place (connect-config/)."""
SECOND = 1_000_000
"""A second of versions."""
SNAPSHOT_READ = "r"


def decode(records: DataFrame, collection: str) -> DataFrame:
    """One row a change: id, version, version_order, op, deleted, document (JSON), reason, and where it came from."""
    text = F.col("value").cast("string")
    path = functools.partial(F.get_json_object, text)
    # Debezium's snapshot of an idle server has the worker's clock and the ordinal -1: it sorts before the changes of its second.
    seconds = F.floor(path("$.__source_ts_ms").cast("bigint") / 1000)
    ordinal = F.greatest(F.coalesce(path("$.__source_ord").cast("bigint"), F.lit(0)), F.lit(0)).cast("bigint")
    op = path("$.__op")
    place = F.when(op != SNAPSHOT_READ, F.format_string("-%019d", "offset"))
    parsed = records.where(decoding.is_change()).select(
        path("$._id").alias("id"),
        (seconds * SECOND + ordinal).alias("version"),
        F.coalesce(path("$.__source_order"), place, F.lit("")).alias("version_order"),
        op.alias("op"),
        (F.coalesce(path("$.__deleted"), F.lit("false")) == "true").alias("deleted"),
        text.alias("document"),
        *decoding.ORIGIN,
    )
    reason = F.when(F.col("id").isNull(), F.lit("_id is missing; expected text"))
    reason = reason.when(F.col("version").isNull(), F.lit("__source_ts_ms is missing; expected milliseconds"))
    for fields, kind, expected in ((TEXTS[collection], "STRING", "text"), (OBJECTS[collection], "OBJECT", "an object")):
        for field in fields:
            told = F.lit(True) if field == "_id" else ~F.col("deleted")
            reason = reason.when(told & ~_is(field, kind), F.concat(F.lit(f"{field} is "), _at(field), F.lit(f"; expected {expected}")))
    return parsed.withColumn("reason", reason)


def _is(field: str, kind: str) -> Column:
    """Whether a field of the document has a JSON type, is null or is not there."""
    found = F.schema_of_variant(F.try_variant_get(F.try_parse_json("document"), f"$.{field}", "variant"))
    return F.coalesce(found.startswith(kind) | (found == "VOID"), F.lit(True))


def newest(history: DataFrame, key: str) -> DataFrame:
    """The newest change of each document of a history: key, deleted, document."""
    change = F.struct("deleted", "document")
    return history.groupBy(key).agg(F.max_by(change, F.struct("version", _order(history))).alias("c")).select(key, "c.*")


def write_times(history: DataFrame) -> DataFrame:
    """The newest change of each document, with ``written_at``, its write timestamp in microseconds.

    That is its version, or one more than the timestamp of the change before it, whichever is later. Of changes with equal timestamps
    Cassandra would choose cell by cell, and a deletion would win. A timestamp only grows with what is known of the history, so that
    whoever knows less can not overwrite (I7). ``history`` holds all changes of the newest one's second, each at least once.
    """
    ordered = history.withColumn("version_order", _order(history)).dropDuplicates(["id", "version", "version_order"])
    newest_first = Window.partitionBy("id").orderBy(F.col("version").desc(), F.col("version_order").desc())
    placed = ordered.withColumn("newer", F.row_number().over(newest_first) - 1)
    change = F.min_by(F.struct("version", "deleted", "document"), "newer")
    return (
        placed.groupBy("id")
        .agg(change.alias("c"), F.max(F.col("version") + F.col("newer")).alias("written_at"))
        .select("id", "c.*", "written_at")
    )


def _order(history: DataFrame) -> Column:
    """A snapshot from before the column does not have it, and a row from before it has null."""
    return F.coalesce("version_order", F.lit("")) if "version_order" in history.columns else F.lit("")


@dataclass(frozen=True)
class MerchantSink:
    """Where merchants go; travels to the workers."""

    cassandra: CassandraSettings
    keyspace: str


class DimensionBatch:
    """Called with each micro-batch of a dimension's topic."""

    def __init__(self, config: Config, lake: Lake, collection: str) -> None:
        self._config, self._lake, self._collection = config, lake, collection
        self.dead_letters = 0
        """How many changes have become dead letters so far."""

    def run(self, records: DataFrame, query: str, batch_id: int) -> int:
        """Take one micro-batch through; how many changes it held."""
        changes = decode(records, self._collection).persist()
        try:
            in_parts = whose.zone_has_parts(F.get_json_object("document", "$.timeZone"))
            counts = changes.agg(
                F.count("*").alias("all"), F.count("reason").alias("bad"), F.count_if(F.col("op") != SNAPSHOT_READ).alias("streamed"),
                F.collect_set(F.when(in_parts, F.col("id"))).alias("parted"),
            ).first()  # fmt: skip
            assert counts is not None
            if counts["bad"]:
                self.dead_letters += counts["bad"]
                topic = dead_letter_topic(self._config.names)
                deadletters.send(deadletters.letters(changes, self._collection), self._config.kafka, topic)
            good = changes.where("reason IS NULL")
            if counts["all"] > counts["bad"]:
                table, key = {MERCHANTS: (self._lake.merchants, "merchant_id"), USERS: (self._lake.users, "user_key")}[self._collection]
                before = self._lake.newest_of(table)
                history = good.withColumn("seen_at", F.current_timestamp()).withColumnRenamed("id", key)
                history.select(key, "version", "deleted", "document", "seen_at", "version_order").writeTo(table).append()
                if self._collection == MERCHANTS:
                    self._store(write_times(self._history(good) if counts["streamed"] else good))
                    making.first(self._config, self._lake, frozenset(counts["parted"]), before)
            return int(counts["all"])
        finally:
            changes.unpersist()

    def _history(self, changes: DataFrame) -> DataFrame:
        """What the lake knows of the changes' merchants in the seconds of these changes: other batches may hold a part of a transaction."""
        ends = changes.agg(F.min("version"), F.max("version")).first()
        assert ends is not None
        known = self._lake.session.table(self._lake.merchants).where(F.col("version").between(ends[0] - ends[0] % SECOND, ends[1]))
        return known.withColumnRenamed("merchant_id", "id").join(changes.select("id").distinct(), "id", "left_semi")

    def _store(self, merchants: DataFrame) -> None:
        sink = MerchantSink(self._config.cassandra, self._config.names.keyspace)
        columns = [_at(path).alias(name) for name, path in MERCHANT_COLUMNS.items()]
        rows = merchants.select("id", "version", "written_at", "deleted", *columns)
        rows.mapInArrow(functools.partial(_write_merchants, sink), "written bigint").agg(F.sum("written")).collect()


def _at(path: str) -> Column:
    return F.get_json_object("document", f"$.{path}")


def _write_merchants(sink: MerchantSink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Upsert or delete, each at its write timestamp (I7)."""
    session = report_store.session(sink.cassandra)
    names = ", ".join(MERCHANT_COLUMNS)
    marks = ", ".join("?" * (len(MERCHANT_COLUMNS) + 2))
    table = f"{sink.keyspace}.{MERCHANTS_TABLE}"
    upsert = session.prepare(f"INSERT INTO {table} (merchant_id, {names}, version) VALUES ({marks}) USING TIMESTAMP ?")  # noqa: S608
    delete = session.prepare(f"DELETE FROM {table} USING TIMESTAMP ? WHERE merchant_id = ?")  # noqa: S608 - names of our own
    for batch in batches:
        statements = [
            (delete, (row["written_at"], row["id"]))
            if row["deleted"]
            else (upsert, (row["id"], *(row[name] for name in MERCHANT_COLUMNS), row["version"], row["written_at"]))
            for row in batch.to_pylist()
        ]
        report_store.execute_all(session, statements)
        yield pa.RecordBatch.from_pylist([{"written": len(statements)}])
