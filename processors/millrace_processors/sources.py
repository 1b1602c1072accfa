"""Kafka as Spark reads it: committed records only, nothing lost in silence."""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, TopicMetadata
from pyspark.sql import DataFrame, SparkSession

from millrace_contracts.settings import KafkaSettings
from millrace_processors.errors import CommandError, UnavailableError
from millrace_runtime.waiting import until_answered

REQUEST_SECONDS = 10.0


def stream(session: SparkSession, kafka: KafkaSettings, topic: str, most: int, starting: dict[str, str] | None = None) -> DataFrame:
    """A topic from the checkpoint, or as ``starting`` says in ``read``; at most so many records a micro-batch."""
    options = {**_options(kafka, topic), "startingOffsets": "earliest", "maxOffsetsPerTrigger": str(most), **(starting or {})}
    return session.readStream.format("kafka").options(**options).load()


def read(session: SparkSession, kafka: KafkaSettings, topic: str, starting: dict[str, str] | None = None) -> DataFrame:
    """What a topic holds now, from the beginning unless ``starting`` (Spark's startingOffsets or startingTimestamp) says otherwise."""
    options = {**_options(kafka, topic), "startingOffsets": "earliest", "endingOffsets": "latest", **(starting or {})}
    return session.read.format("kafka").options(**options).load()


def client_options(kafka: KafkaSettings) -> dict[str, str]:
    """Address, encryption and login, as Spark's Kafka source and sink take them."""
    return {f"kafka.{name}": value for name, value in kafka.java_client().items()}


def _options(kafka: KafkaSettings, topic: str) -> dict[str, str]:
    return {
        **client_options(kafka),
        "subscribe": topic,
        "failOnDataLoss": "true",
        "kafka.isolation.level": "read_committed",
        "kafka.max.partition.fetch.bytes": str(16 * 1024 * 1024),
        "kafka.fetch.max.bytes": str(64 * 1024 * 1024),
        "kafka.receive.buffer.bytes": str(1024 * 1024),
        # At the end of a topic the broker holds a fetch back for so long, and whatever the consumer asks for next waits behind it.
        "kafka.fetch.max.wait.ms": "10",
    }


def partitions(kafka: KafkaSettings, topic: str, patience: float = 0.0) -> int:
    """How many partitions a topic has; Kafka is asked again for ``patience`` seconds while it is away.

    Raises:
        CommandError: there is no such topic.
        UnavailableError: Kafka does not answer.
    """

    def ask() -> TopicMetadata | None:
        admin = AdminClient({**kafka.client(), "log_level": 2})
        return admin.list_topics(timeout=REQUEST_SECONDS).topics.get(topic)

    found = until_answered(f"Kafka at {kafka.bootstrap}", ask, (KafkaException,), patience, UnavailableError)
    if found is None or found.error is not None:
        raise CommandError(f"there is no topic {topic}; run `millrace topics apply`")
    return len(found.partitions)
