"""What the relay says that it wrote, by window of the payments' time, beside what the payments topic holds of it.

The relay's counts are committed with the events that they count. They are read first, so that the topic holds at least as much; it may
hold more, since a replay writes events again and counts none. What Kafka has dropped after its retention is left out.
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, TopicPartition
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from millrace_contracts.documents import PAYMENTS
from millrace_contracts.topics import audit_topic, change_topic
from millrace_contracts.windows import WINDOW_MS
from millrace_processors import decoding, sources
from millrace_processors.settings import Config

STRADDLE_MS = 120_000
"""A transaction that was open for so long may have lost a part of its events to the retention."""
_RECORD = "kind STRING, collection STRING, recorded_ms BIGINT, windows ARRAY<ARRAY<STRING>>"
_IMAGE = "STRUCT<paidAt: BIGINT, amount: BIGINT>"


def by_window(config: Config, session: SparkSession) -> DataFrame:
    """window_start, relay_events, relay_amount of the audit topic, read at once.

    Raises:
        CommandError: there is no such topic.
    """
    topic = audit_topic(config.names)
    sources.partitions(config.kafka, topic)
    record = F.from_json(F.col("value").cast("string"), _RECORD)
    ours = (F.col("r.kind") == "counts") & (F.col("r.collection") == f"{config.names.database}.{PAYMENTS}")
    rows = (
        sources.read(session, config.kafka, topic).select(record.alias("r")).where(ours & (F.col("r.recorded_ms") >= _kept_since(config)))
    )
    cell = F.col("cell")
    cells = rows.select(F.explode("r.windows").alias("cell")).select(
        _window(cell[0].cast("bigint")), cell[3].cast("bigint").alias("n"), cell[4].cast("bigint").alias("a")
    )
    return _sums(cells, "relay_events", "relay_amount").localCheckpoint()


def of_topic(config: Config, session: SparkSession) -> DataFrame:
    """window_start, topic_events, topic_amount of the events that the payments topic holds."""
    head = F.from_json(F.col("value").cast("string"), f"after {_IMAGE}, before {_IMAGE}").alias("e")
    changes = sources.read(session, config.kafka, change_topic(config.names, PAYMENTS)).where(decoding.is_change())
    image = F.coalesce("e.after", "e.before").alias("image")
    cells = changes.select(head).select(image).select(
        _window(F.col("image.paidAt")), F.lit(1).alias("n"), F.coalesce("image.amount", F.lit(0)).alias("a")
    )  # fmt: skip
    return _sums(cells, "topic_events", "topic_amount")


def lost() -> Column:
    """Whether the topic holds less than the relay wrote, or as much of another amount."""
    held, written = F.coalesce("topic_events", F.lit(0)), F.coalesce("relay_events", F.lit(0))
    return (written > held) | ((written == held) & ~F.col("relay_amount").eqNullSafe(F.col("topic_amount")))


def _window(at_ms: Column) -> Column:
    return F.timestamp_millis(at_ms - F.pmod(at_ms, F.lit(WINDOW_MS))).alias("window_start")


def _sums(cells: DataFrame, events: str, amount: str) -> DataFrame:
    return cells.where("window_start IS NOT NULL").groupBy("window_start").agg(F.sum("n").alias(events), F.sum("a").alias(amount))


def _kept_since(config: Config) -> int:
    """From when on (epoch ms) the payments topic has dropped nothing; 0 where it has all from the beginning."""
    topic = change_topic(config.names, PAYMENTS)
    settings = {**config.kafka.client(), "group.id": "millrace-audit", "enable.auto.commit": False}
    consumer, since = Consumer(settings), 0
    try:
        for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            if low == 0:
                continue
            consumer.assign([TopicPartition(topic, partition, low)])
            first = consumer.consume(1, timeout=30) if high > low else []
            since = max([since, *(each.timestamp()[1] for each in first)] if first else [time.time_ns() // 1_000_000])
    finally:
        consumer.close()
    return since + STRADDLE_MS if since else 0
