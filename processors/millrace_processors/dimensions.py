"""The dimensions: merchants and users as Debezium's connectors write them (flattened, deletes rewritten).

Merchants go to Cassandra, where the newest version of each wins, and with their whole history to the lake; users, who travel without
any personal field (I12), to the lake only.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.documents import MERCHANTS, USERS
from millrace_contracts.reports import MERCHANTS_TABLE
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.topics import dead_letter_topic
from millrace_processors import deadletters, decoding, report_store
from millrace_processors.lake import Lake
from millrace_processors.settings import Config

MERCHANT_COLUMNS = {
    "name": "name", "grade": "grade", "country": "location.country", "region": "location.region", "city": "location.city",
    "business_type": "businessType", "time_zone": "timeZone", "currency": "currency", "status": "status",
}  # fmt: skip
"""Column of the merchants table -> path in the document."""


def decode(records: DataFrame) -> DataFrame:
    """One row a change: id, version (microseconds of the cluster time), deleted, document (JSON), reason, and where it came from."""
    text = F.col("value").cast("string")
    path = functools.partial(F.get_json_object, text)
    ts, ordinal = path("$.__source_ts_ms").cast("bigint"), F.coalesce(path("$.__source_ord").cast("bigint"), F.lit(0).cast("bigint"))
    parsed = records.where(decoding.is_change()).select(
        path("$._id").alias("id"),
        (ts * 1000 + ordinal).alias("version"),
        (F.coalesce(path("$.__deleted"), F.lit("false")) == "true").alias("deleted"),
        text.alias("document"),
        *decoding.ORIGIN,
    )
    missing = F.when(F.col("id").isNull(), F.lit("_id is missing; expected text"))
    return parsed.withColumn("reason", missing.when(F.col("version").isNull(), F.lit("__source_ts_ms is missing; expected milliseconds")))


def newest(changes: DataFrame) -> DataFrame:
    """The newest change of each id."""
    return changes.groupBy("id").agg(F.max_by(F.struct("version", "deleted", "document"), "version").alias("c")).select("id", "c.*")


@dataclass(frozen=True)
class MerchantSink:
    """Where merchants go; travels to the workers."""

    cassandra: CassandraSettings
    keyspace: str


class DimensionBatch:
    """Called with each micro-batch of a dimension's topic."""

    def __init__(self, config: Config, lake: Lake, collection: str) -> None:
        self._config, self._lake, self._collection = config, lake, collection

    def run(self, records: DataFrame, query: str, batch_id: int) -> int:
        """Take one micro-batch through; how many changes it held."""
        changes = decode(records).persist()
        try:
            counts = changes.agg(F.count("*"), F.count("reason")).first()
            assert counts is not None
            if counts[1]:
                topic = dead_letter_topic(self._config.names)
                deadletters.send(deadletters.letters(changes, self._collection), self._config.kafka, topic)
            good = changes.where("reason IS NULL")
            if counts[0] > counts[1]:
                table, key = {MERCHANTS: (self._lake.merchants, "merchant_id"), USERS: (self._lake.users, "user_key")}[self._collection]
                history = good.select(F.col("id").alias(key), "version", "deleted", "document", F.current_timestamp().alias("seen_at"))
                history.writeTo(table).append()
                if self._collection == MERCHANTS:
                    self._store(newest(good))
            return int(counts[0])
        finally:
            changes.unpersist()

    def _store(self, merchants: DataFrame) -> None:
        sink = MerchantSink(self._config.cassandra, self._config.names.keyspace)
        columns = [_at(path).alias(name) for name, path in MERCHANT_COLUMNS.items()]
        rows = merchants.select("id", "version", "deleted", *columns)
        rows.mapInArrow(functools.partial(_write_merchants, sink), "written bigint").agg(F.sum("written")).collect()


def _at(path: str) -> Column:
    return F.get_json_object("document", f"$.{path}")


def _write_merchants(sink: MerchantSink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Upsert or delete, each with its version as the write timestamp (I7)."""
    session = report_store.session(sink.cassandra)
    names = ", ".join(MERCHANT_COLUMNS)
    marks = ", ".join("?" * (len(MERCHANT_COLUMNS) + 2))
    table = f"{sink.keyspace}.{MERCHANTS_TABLE}"
    upsert = session.prepare(f"INSERT INTO {table} (merchant_id, {names}, version) VALUES ({marks}) USING TIMESTAMP ?")  # noqa: S608
    delete = session.prepare(f"DELETE FROM {table} USING TIMESTAMP ? WHERE merchant_id = ?")  # noqa: S608 - names of our own
    for batch in batches:
        statements = [
            (delete, (row["version"], row["id"]))
            if row["deleted"]
            else (upsert, (row["id"], *(row[name] for name in MERCHANT_COLUMNS), row["version"], row["version"]))
            for row in batch.to_pylist()
        ]
        report_store.execute_all(session, statements)
        yield pa.RecordBatch.from_pylist([{"written": len(statements)}])
