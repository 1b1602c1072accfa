"""Payments as change events of about 690 B for bench/analysis.py and bench/soak.py: 5,000 merchants, Zipf, with low-water markers."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_contracts.settings import NamesSettings
from millrace_contracts.topics import change_topic, declared
from millrace_contracts.windows import WINDOW_MS

MERCHANTS = 5_000
PARTITIONS = 4
TOKEN = "2B022C0100296E5A100463F1E0C1E5B04A9E8F0C5A2B1A3C5D7E463C5F6964003C"
FIRST_MS = 1_764_000_000_000
"""2025-11-24T16:00:00Z, the start of a window."""


class Events:
    """Writes numbered payments; the same numbers give the same payments."""

    def __init__(self, bootstrap: str, names: NamesSettings) -> None:
        self._bootstrap = bootstrap
        self.topic = change_topic(names, "payments")
        admin = AdminClient({"bootstrap.servers": bootstrap})
        topics = [NewTopic(each.name, each.partitions, 1) for each in declared(names, payment_partitions=PARTITIONS)]
        for future in admin.create_topics(topics).values():
            future.result()
        self._written = 0

    def producer(self) -> Producer:
        """One for many events."""
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "linger.ms": 20,
                "batch.num.messages": 20_000,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def mark(self, producer: Producer, through_ms: int) -> None:
        """Say in every partition that all changes up to then are in."""
        mark = orjson.dumps({"stream": 0, "streams": 1, "through_ms": through_ms, "ts_ms": 0})
        for partition in range(PARTITIONS):
            producer.produce(self.topic, mark, None, partition)

    def write(self, count: int, first_window: int, windows: int) -> int:
        """Write payments evenly over some windows; the bytes of an event."""
        producer = self.producer()
        merchants = np.random.default_rng(self._written).zipf(1.2, count) % MERCHANTS
        size = 0
        for index in range(count):
            number = self._written + index
            window = first_window + index % windows
            after = payment(number, int(merchants[index]), FIRST_MS + window * WINDOW_MS + number * 7919 % WINDOW_MS)
            value = change(number, after)
            size = max(size, len(value))
            producer.produce(self.topic, value, after["_id"])
            if index % 20_000 == 0:
                producer.flush()
        self.mark(producer, FIRST_MS + self._written)
        producer.flush()
        self._written += count
        return size


def payment(number: int, merchant: int, paid_at: int) -> dict[str, Any]:
    """The after-image of a numbered payment."""
    amount = 100 + number * 7919 % 20_000
    return {
        "_id": f"pay-{number:018d}",
        "merchantId": f"merchant-{merchant}",
        "user": {
            "key": f"{number * 7919 % 50_000:022d}",
            "birthYear": 1950 + number % 50,
            "gender": ("female", "male")[number % 2],
            "country": ("US", "DE", "KR")[number % 3],
            "grade": ("gold", "silver")[number % 2],
            "device": {"type": ("mobile", "pos")[number % 2]},
        },
        "amount": amount,
        "currency": "USD",
        "method": ("card", "cash", "wallet")[number % 3],
        "points": {"used": 0, "earned": amount // 100},
        "status": "succeeded",
        "paidAt": paid_at,
        "refunds": [],
        "schemaVersion": 1,
    }


def change(order: int, after: dict[str, Any], before: dict[str, Any] | None = None) -> bytes:
    """A change event, an update where there is a before-image. ``order``: its place in the change stream."""
    seconds, ordinal = FIRST_MS // 1000 + order // 20_000, order % 20_000 + 1
    token = f"82{seconds:08X}{ordinal:08X}{TOKEN}{after['_id'].encode().hex().upper()}000004"
    source = {"connector": "millrace", "db": "commerce", "collection": "payments", "ts_ms": seconds * 1000, "ord": ordinal, "token": token}
    op = "c" if before is None else "u"
    event = {"op": op, "before": before, "after": after, "source": {**source, "snapshot": "false"}, "ts_ms": seconds * 1000}
    return orjson.dumps(event)
