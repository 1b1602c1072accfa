"""The analysis of one test: its own topic, keyspace, lake and checkpoints on the shared servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pyspark.sql import DataFrame, SparkSession

from millrace_contracts.documents import PAYMENTS
from millrace_contracts.reports import BREAKDOWNS, CONTENT, PROGRESS_PAYMENTS, REPORTS_TABLE, SKETCHES
from millrace_contracts.topics import change_topic, dead_letter_topic
from millrace_contracts.windows import Grain, Inner
from millrace_processors import sources, tables
from millrace_processors.lake import Lake
from millrace_processors.payments import PaymentsBatch
from millrace_processors.progress import ProgressTable
from millrace_processors.settings import Config

PARTITIONS = 2
Reports = dict[tuple[str, int, str], tuple[Any, ...]]


class Pipeline:
    """What a test does with the analysis tier."""

    def __init__(self, spark: SparkSession, environ: Mapping[str, str], folder: Path) -> None:
        # The source database is another fixture's: its users are there only once that is asked for.
        own = {name: value for name, value in environ.items() if "MONGO" not in name}
        self.environ = {**own, "MILLRACE_PROCESSORS_CHECKPOINTS": str(folder)}
        self.config = Config.load(self.environ)
        self.spark, self.folder = spark, folder
        self.topic = change_topic(self.config.names, PAYMENTS)
        admin = AdminClient({"bootstrap.servers": self.config.kafka.bootstrap})
        wanted = [NewTopic(self.topic, PARTITIONS, 1), NewTopic(dead_letter_topic(self.config.names), 1, 1)]
        for made in admin.create_topics(wanted).values():
            made.result(60)
        tables.declare_store(self.config)
        self.session = tables.connected(self.config)
        self.lake = self.new_lake(self.config.names.lake_namespace)

    def new_lake(self, namespace: str) -> Lake:
        """An empty lake of this name, which the pipeline uses from now on."""
        names = self.config.names.model_copy(update={"lake_namespace": namespace})
        self.config = Config(**{**vars(self.config), "names": names})
        self.environ["MILLRACE_NAMES_LAKE_NAMESPACE"] = namespace
        self.lake = Lake(self.spark, self.config.lake, namespace)
        self.lake.declare()
        return self.lake

    def see(self, more: Mapping[str, str]) -> None:
        """Take more settings."""
        self.environ |= more
        self.config = Config.load(self.environ)

    def in_batches(self, most: int) -> Config:
        """The settings with at most so many events a micro-batch."""
        processors = self.config.processors.model_copy(update={"max_events_per_batch": most})
        return Config(**{**vars(self.config), "processors": processors})

    def produce(self, events: list[tuple[str, str]], through_ms: int | None = None) -> None:
        """Write events, in this order within a partition, and then a low-water marker to every partition."""
        producer = Producer({"bootstrap.servers": self.config.kafka.bootstrap, "partitioner": "murmur2_random"})
        for key, value in events:
            producer.produce(self.topic, value.encode(), key.encode())
        assert producer.flush(60) == 0
        for partition in range(PARTITIONS if through_ms is not None else 0):
            mark = {"stream": 0, "streams": 1, "through_ms": through_ms, "ts_ms": 0}
            producer.produce(self.topic, json.dumps(mark).encode(), None, partition)
        assert producer.flush(60) == 0

    def live(self) -> None:
        """Let the stream take what the topic has, in batches, from its checkpoint."""
        batch = self.batch()

        def run(records: DataFrame, batch_id: int) -> None:
            batch.run(records, "live", batch_id)

        records = sources.stream(self.spark, self.config.kafka, self.topic, 150)
        writer = records.writeStream.option("checkpointLocation", str(self.folder / "live")).trigger(availableNow=True)
        writer.foreachBatch(run).start().awaitTermination()

    def batch(self) -> PaymentsBatch:
        """What a driver that has just started runs."""
        table = ProgressTable(self.session, self.config.names.keyspace)
        return PaymentsBatch(self.config, self.lake, table, table.load(PROGRESS_PAYMENTS, PARTITIONS))

    def records(self) -> DataFrame:
        """All that the topic holds."""
        return sources.read(self.spark, self.config.kafka, self.topic)

    def merchant(self, name: str, zone: str | None, version: int = 1) -> None:
        """Write a version of a merchant into the dimension's history."""
        document = json.dumps({"_id": name, "timeZone": zone})
        rows = self.spark.createDataFrame(
            [(name, version, False, document)], "merchant_id string, version bigint, deleted boolean, document string"
        )
        rows.selectExpr("*", "current_timestamp() AS seen_at").writeTo(self.lake.merchants).append()

    def reports(self, grain: Grain | Inner = Grain.TEN_MINUTES) -> Reports:
        """The content of every stored report of a grain, by (merchant, start in ms, currency), sketches and maps as bytes or plain."""
        return {key: row for key, (row, _) in self.rows(grain).items()}

    def versions(self, grain: Grain | Inner = Grain.TEN_MINUTES) -> dict[tuple[str, int, str], int]:
        """The version of every stored report of a grain."""
        return {key: version for key, (_, version) in self.rows(grain).items()}

    def rows(self, grain: Grain | Inner) -> dict[tuple[str, int, str], tuple[tuple[Any, ...], int]]:
        """(content, version) of every stored report of a grain."""
        columns = ", ".join(CONTENT)
        query = (
            f"SELECT merchant_id, to_unix_timestamp(window_start) AS start, currency, version, {columns} "
            f"FROM {self.config.names.keyspace}.{REPORTS_TABLE} WHERE grain = '{grain.value}' ALLOW FILTERING"
        )
        return {(row.merchant_id, row.start, row.currency): (_plain(row), row.version) for row in self.session.execute(query)}


def _plain(row: Any) -> tuple[Any, ...]:
    values = row._asdict()
    return tuple(
        tuple(values[name].items()) if name in BREAKDOWNS else bytes(values[name]) if name in SKETCHES else values[name] for name in CONTENT
    )
