"""A place of its own for each test: lake namespace, keyspace and topics on the run's shared servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from pyspark.sql import SparkSession

from millrace_contracts.reports import BREAKDOWNS, CONTENT, PROGRESS_PAYMENTS
from millrace_contracts.topics import change_topic, declared
from millrace_processors import sources, tables
from millrace_processors.lake import Lake
from millrace_processors.payments import Outcome, PaymentsBatch
from millrace_processors.progress import ProgressTable
from millrace_processors.settings import Config
from tests.integration.processors.events import produce
from tests.support.servers import unique_names

Reports = dict[tuple[Any, ...], tuple[Any, ...]]


@dataclass
class Place:
    """One installation of the analysis tier, driven a micro-batch at a time."""

    config: Config
    spark: SparkSession
    lake: Lake

    @property
    def topic(self) -> str:
        return change_topic(self.config.names, "payments")

    def produce(self, events: list[tuple[str, str]], through_ms: int | None = None) -> None:
        produce(self.config.kafka.bootstrap, self.topic, events, through_ms)

    def batch(self) -> PaymentsBatch:
        """What a driver that has just started runs."""
        session = tables.connected(self.config)
        table = ProgressTable(session, self.config.names.keyspace)
        return PaymentsBatch(self.config, self.lake, table, table.load(PROGRESS_PAYMENTS, 4))

    def run(self, batch_id: int = 0, query: str = "q", batch: PaymentsBatch | None = None) -> Outcome:
        """One micro-batch of all that the topic holds."""
        records = sources.read(self.spark, self.config.kafka, self.topic)
        return (batch or self.batch()).run(records, query, batch_id)

    def reports(self, *columns: str) -> Reports:
        """Every report by (merchant, window start, currency); by default what must be equal however it came to be (I6)."""
        session = tables.connected(self.config)
        rows = session.execute(f"SELECT * FROM {self.config.names.keyspace}.reports WHERE grain = '10m' ALLOW FILTERING")
        names = columns or CONTENT
        return {
            (row.merchant_id, row.window_start, row.currency): tuple(
                dict(getattr(row, name) or {}) if name in BREAKDOWNS else getattr(row, name) for name in names
            )
            for row in rows
        }

    def records(self, topic: str) -> list[Any]:
        """Every record of a topic with one partition."""
        consumer = Consumer({"bootstrap.servers": self.config.kafka.bootstrap, "group.id": "test", "enable.auto.commit": False})
        try:
            end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=60)[1]
            consumer.assign([TopicPartition(topic, 0, 0)])
            found: list[Any] = []
            while len(found) < end:
                found += [record for record in consumer.consume(end, timeout=1) if record.error() is None]
            return found
        finally:
            consumer.close()


@pytest.fixture(scope="session")
def servers_settings(
    kafka_server: dict[str, str], cassandra_server: dict[str, str], redis_server: dict[str, str], spark_settings: dict[str, str]
) -> dict[str, str]:
    return {**kafka_server, **cassandra_server, **redis_server, **spark_settings}


@pytest.fixture
def new_place(servers_settings: dict[str, str], spark: SparkSession) -> Iterator[Callable[[], Place]]:
    made: list[Place] = []

    def make() -> Place:
        config = Config.load({**servers_settings, **unique_names()})
        admin = AdminClient({"bootstrap.servers": config.kafka.bootstrap})
        for future in admin.create_topics([NewTopic(each.name, each.partitions, 1) for each in declared(config.names)]).values():
            future.result()
        tables.declare_store(config)
        lake = Lake(spark, config.lake, config.names.lake_namespace)
        lake.declare()
        made.append(Place(config, spark, lake))
        return made[-1]

    yield make
    for place in made:
        tables.connected(place.config).execute(f"DROP KEYSPACE {place.config.names.keyspace}", timeout=120)


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()
