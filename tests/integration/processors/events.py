"""Change events as the relay and Debezium write them, made by hand."""

from __future__ import annotations

import json
from typing import Any

import orjson
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession

SECOND = 1_764_000_000
T0 = 1_763_999_400_000
"""2025-11-24T15:50:00Z, the start of a 10-minute window."""
MINUTE = 60_000


def payment(identifier: str = "p1", **given: Any) -> dict[str, Any]:
    """A payment's captured fields."""
    made: dict[str, Any] = {
        "_id": identifier, "merchantId": "m", "amount": 100, "currency": "USD", "method": "card", "points": {"used": 0, "earned": 1},
        "status": "succeeded", "paidAt": T0 + MINUTE, "refunds": [], "schemaVersion": 1,
        "user": {"key": "k1", "birthYear": 1990, "gender": "female", "country": "US", "grade": "gold", "device": {"type": "pos"}},
    }  # fmt: skip
    return {**made, **given}


def refund(identifier: str, amount: int, at: int) -> dict[str, Any]:
    """A refund inside a payment."""
    return {"id": identifier, "amount": amount, "refundedAt": at}


def token(seconds: int, ordinal: int, operation: int = 0) -> str:
    """A resume token's _data: type byte, cluster time, version, type, index inside the transaction, and what names the event."""
    index = "29" if operation == 0 else f"2B{2 * operation:02X}"
    return f"82{seconds:08X}{ordinal:08X}2B022C0100{index}6E5A100463F1E0C1E5B04A9E8F0C5A2B1A3C5D7E46645F696400"


def change(op: str, after: dict[str, Any] | None, before: dict[str, Any] | None = None, at: int = 1, operation: int = 0) -> tuple[str, str]:
    """(key, value) of the relay's envelope; ``at`` is the ordinal of the cluster time."""
    image = after or before or {"_id": "?"}
    source = {"ts_ms": SECOND * 1000, "ord": at, "token": token(SECOND, at, operation), "snapshot": "false"}
    return image["_id"], json.dumps({"op": op, "before": before, "after": after, "source": source, "ts_ms": SECOND * 1000})


def flattened(op: str, document: dict[str, Any], at: int = 1) -> tuple[str, str]:
    """(key, value) of Debezium's payments connector."""
    told = {"__op": op, "__source_ts_ms": SECOND * 1000, "__source_ord": at, "__deleted": "true" if op == "d" else "false"}
    return document["_id"], json.dumps({**({"_id": document["_id"]} if op == "d" else document), **told})


def records(spark: SparkSession, events: list[tuple[str | None, str | None]]) -> DataFrame:
    """Kafka's columns of some events."""
    rows = [(key, value, number) for number, (key, value) in enumerate(events)]
    frame = spark.createDataFrame(rows, "k string, v string, offset bigint")
    return frame.selectExpr("CAST(k AS binary) AS key", "CAST(v AS binary) AS value", "'topic' AS topic", "0 AS partition", "offset")


def produce(bootstrap: str, topic: str, events: list[tuple[str, str]], through_ms: int | None = None, partitions: int = 4) -> None:
    """Write events, and then a low-water marker to every partition."""
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for key, value in events:
        producer.produce(topic, value.encode(), key.encode())
    producer.flush(60)
    for partition in range(partitions if through_ms is not None else 0):
        producer.produce(topic, orjson.dumps({"stream": 0, "streams": 1, "through_ms": through_ms, "ts_ms": 0}), None, partition)
    assert producer.flush(60) == 0
