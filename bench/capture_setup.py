"""What every contestant of bench/capture.py shares: the documents, the servers, and the counting of what arrived."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil
from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from pymongo import MongoClient, UpdateOne

PARTITIONS = 4
FILLER = "x" * 330
Settings = dict[str, str]


def document(number: int) -> dict[str, Any]:
    """A payment of about 816 B."""
    amount = 100 + number * 7919 % 20_000
    at = datetime.fromtimestamp(1_772_600_000 + number // 100, UTC)
    return {
        "_id": f"{number * 2654435761 % 2**32:08x}-{number:08x}-bench",
        "merchantId": f"merchant-{number * 7 % 500}",
        "user": {
            "id": f"user-{number % 20_000:08d}",
            "key": f"{number % 20_000:022d}",
            "birthYear": 1950 + number % 50,
            "gender": ("female", "male")[number % 2],
            "country": "US",
            "grade": "loyalty",
            "device": {"type": "mobile", "os": "android"},
        },
        "amount": amount,
        "currency": "USD",
        "method": ("card", "cash", "wallet")[number % 3],
        "points": {"used": 0, "earned": amount // 100},
        "status": "succeeded",
        "paidAt": at,
        "refunds": [],
        "createdAt": at,
        "updatedAt": at,
        "schemaVersion": 1,
        "note": FILLER,
    }


class Bench:
    """The servers, and what all contestants share."""

    def __init__(self, settings: Settings, processes: Callable[[str], psutil.Process]) -> None:
        self.settings = settings
        self.server = processes
        self.bootstrap = settings["MILLRACE_KAFKA_BOOTSTRAP"]
        self.client: MongoClient[dict[str, Any]] = MongoClient(settings["MILLRACE_MONGO_ADMIN_URI"])
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})

    def write(self, database: str, inserts: int, updates: int) -> str:
        """Write the changes; returns the token before them."""
        payments = self.client[database].create_collection("payments", changeStreamPreAndPostImages={"enabled": updates > 0})
        with payments.watch() as stream:
            stream.try_next()
            token = str((stream.resume_token or {})["_data"])
        for start in range(0, inserts, 2000):
            payments.insert_many([document(number) for number in range(start, min(inserts, start + 2000))], ordered=False)
            if updates:
                done, due = updates * start // inserts, updates * min(inserts, start + 2000) // inserts
                change = {"$push": {"refunds": {"id": "r1", "amount": 7, "refundedAt": datetime.now(UTC)}}, "$set": {"status": "succeeded"}}
                payments.bulk_write([UpdateOne({"_id": document(number)["_id"]}, change) for number in range(done, due)], ordered=False)
        return token

    def make_topics(self, *names: str, partitions: int = PARTITIONS) -> None:
        """Create topics."""
        for future in self.admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
            future.result()

    def stable(self, topic: str) -> list[int]:
        """Last stable offset of each partition: up to where a read_committed consumer sees."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, partition): latest for partition in range(PARTITIONS)}
        futures = self.admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        return [int(future.result().offset) for future in futures.values()]

    def count(self, topic: str) -> tuple[int, int, list[int]]:
        """Events, distinct (key, token or content), and the end of the last event in each partition."""
        config = {"bootstrap.servers": self.bootstrap, "group.id": "bench", "isolation.level": "read_committed"}
        consumer = Consumer({**config, "enable.partition.eof": True, "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        seen: set[Any] = set()
        ended: set[int] = set()
        events, last = 0, [0] * PARTITIONS
        while len(ended) < PARTITIONS:
            for message in consumer.consume(10_000, 1.0):
                partition = message.partition() or 0
                if message.error():
                    ended.add(partition)
                elif message.key():
                    events += 1
                    source = json.loads(message.value() or b"{}").get("source", {})
                    seen.add((message.key(), source.get("token") or source.get("wallTime") or source.get("ord"), source.get("ts_ms")))
                    last[partition] = (message.offset() or 0) + 1
        consumer.close()
        return events, len(seen), last


@dataclass
class Watch:
    """Samples the topic's stable offsets and the processes while a contestant runs."""

    bench: Bench
    topic: str
    processes: list[psutil.Process]
    samples: list[tuple[float, list[int], float]] = field(default_factory=list)
    peak: int = 0
    _family: list[psutil.Process] = field(default_factory=list)

    def until(self, count: int, within: float = 300) -> None:
        """Sample until so many messages are visible and nothing new came for a second."""
        deadline, quiet = time.monotonic() + within, time.monotonic()
        while time.monotonic() < deadline:
            offsets = self.bench.stable(self.topic)
            cpu, rss = self._usage()
            self.peak = max(self.peak, rss)
            if not self.samples or offsets != self.samples[-1][1]:
                quiet = time.monotonic()
            self.samples.append((time.monotonic(), offsets, cpu))
            if sum(offsets) >= count and time.monotonic() - quiet > 1:
                return
            # Watching costs what it watches: every 10 ms it took a quarter of a core from the drain.
            time.sleep(0.05)
        raise SystemExit(f"{self.topic}: {sum(self.samples[-1][1])} of {count} after {within} s")

    def _usage(self) -> tuple[float, int]:
        # Children are looked for once a second: finding them reads every process of the machine.
        if len(self.samples) % 20 == 0:
            self._family = [member for process in self.processes for member in (process, *process.children(recursive=True))]
        cpu, rss = 0.0, 0
        for member in self._family:
            try:
                times = member.cpu_times()
                cpu += times.user + times.system
                rss += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return cpu, rss

    def result(self, count: int) -> dict[str, Any]:
        """Rate, CPU and memory; checks that every event is there once."""
        events, distinct, ends = self.bench.count(self.topic)
        if (events, distinct) != (count, count):
            raise SystemExit(f"{self.topic}: {events} events, {distinct} distinct, {count} expected")
        first = next(sample for sample in self.samples if sum(sample[1]) > 0)
        last = next(sample for sample in self.samples if all(map(int.__ge__, sample[1], ends)))
        moved = count - sum(first[1])
        return {
            "eventsPerSecond": round(moved / (last[0] - first[0])),
            "cpuSecondsPer100K": round((last[2] - first[2]) / moved * 100_000, 2),
            "peakMiB": round(self.peak / 2**20),
        }
