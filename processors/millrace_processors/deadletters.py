"""What could not be decoded goes to the dead-letter topic with the reason and where it stood (I4)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from millrace_contracts.settings import KafkaSettings
from millrace_processors.sources import client_options


def letters(events: DataFrame, collection: str) -> DataFrame:
    """Kafka records (key, value) of decoded events that have a reason; see contracts/deadletters.py."""
    letter = F.struct(
        F.lit("processors").alias("stage"),
        F.col("reason"),
        F.lit(collection).alias("collection"),
        F.unix_millis(F.current_timestamp()).alias("at_ms"),
        F.col("topic"),
        F.col("partition"),
        F.col("offset"),
        F.col("value").cast("string").alias("payload"),
    )
    return events.where(F.col("reason").isNotNull()).select(F.col("id").cast("binary").alias("key"), F.to_json(letter).alias("value"))


def send(records: DataFrame, kafka: KafkaSettings, topic: str) -> None:
    """Write the letters; a batch that runs again writes them again, and the topic, partition and offset in them tell."""
    writer = records.write.format("kafka").options(**client_options(kafka)).option("topic", topic)
    writer.option("kafka.acks", "all").save()
