"""Gaps: history that MongoDB no longer has. A gap is recorded, shown while it is open, closed by comparing source and topic (I4).

Key ``<ns>/gap/<stream>`` of the progress topic, kind ``gap``: ``from`` is the saved position's cluster time, ``to`` the time at which
the source was read to close it (null while it is open). The newest gap of a stream replaces its older one; every gap's opening and
closing also goes to the audit topic.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from millrace_cdc.progress import FORMAT
from millrace_contracts.changes import OP_DELETE
from millrace_contracts.settings import KafkaSettings

Time = tuple[int, int]
_TEXT_ID = b'{"_id":"'
"""How nearly every image begins."""


@dataclass(frozen=True)
class Gap:
    """Lost history of one stream. ``end`` is None while the gap is open."""

    stream: int
    start: Time
    end: Time | None
    found_ms: int
    repeated: int = 0
    """Documents that were missing or different in the topic and were sent again (op r)."""
    removed: int = 0
    """Documents that the topic had and the source has not (op d)."""

    def encode(self) -> bytes:
        """The record."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "kind": "gap",
                "stream": self.stream,
                "from": self.start,
                "to": self.end,
                "found_ms": self.found_ms,
                "repeated": self.repeated,
                "removed": self.removed,
            }
        )

    @classmethod
    def decode(cls, record: dict[str, Any]) -> Gap:
        """A gap from its record."""
        end = record["to"]
        return cls(
            record["stream"],
            (record["from"][0], record["from"][1]),
            (end[0], end[1]) if end else None,
            record["found_ms"],
            record["repeated"],
            record["removed"],
        )


def gap_key(namespace: str, stream: int) -> str:
    """Key of a stream's gap."""
    return f"{namespace}/gap/{stream}"


class Captured:
    """What the topic says of every document, on disk (about 100 B a document): the digest of its newest image, or that it is deleted.

    A document whose events the topic no longer keeps is unknown: it is sent again if it exists, and its deletion can not be known here.
    A key is text, also that of an id of another type: ``42`` and ``"42"`` are two documents, told apart by ``id``.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="millrace-reconcile-")
        self._rows = sqlite3.connect(Path(self._folder.name) / "captured.db", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
            self._rows.execute(f"PRAGMA {pragma}")
        self._rows.execute(
            "CREATE TABLE captured (key BLOB, id BLOB, digest BLOB, seen INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (key, id)) WITHOUT ROWID"
        )

    def __enter__(self) -> Captured:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove it from disk; safe to repeat."""
        self._rows.close()
        self._folder.cleanup()

    def add(self, events: list[tuple[bytes, bytes]]) -> None:
        """Take events (key, value) in the order of their partition; the newest one of a key counts."""
        rows = []
        for key, value in events:
            event = orjson.loads(value)
            gone = event["op"] == OP_DELETE
            image = event.get("before") if gone else event["after"]
            rows.append((key, _other_id(image), None if gone else digest(orjson.dumps(image))))
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT OR REPLACE INTO captured (key, id, digest) VALUES (?, ?, ?)", rows)
        self._rows.execute("COMMIT")

    def differs(self, key: bytes, image: bytes) -> bool:
        """Whether the topic has another state of a document, or none; the document counts as seen."""
        named = (key, b"" if image.startswith(_TEXT_ID) else _other_id(orjson.loads(image)))
        row = self._rows.execute("SELECT digest FROM captured WHERE key = ? AND id = ?", named).fetchone()
        self._rows.execute("UPDATE captured SET seen = 1 WHERE key = ? AND id = ?", named)
        return row is None or row[0] != digest(image)

    def unseen(self, count: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """(key, id) of what the topic has and the source did not show, so many at a time; ``id`` is JSON, empty where it is the key."""
        cursor = self._rows.execute("SELECT key, id FROM captured WHERE seen = 0 AND digest IS NOT NULL")
        while rows := cursor.fetchmany(count):
            yield rows


def _other_id(image: Any) -> bytes:
    """JSON of an image's id where that is no text; empty where it is, or is not told: then the key is the id."""
    found = image.get("_id") if image else None
    return b"" if found is None or isinstance(found, str) else orjson.dumps(found)


def digest(image: bytes) -> bytes:
    """Sixteen bytes that stand for an image."""
    return blake2b(image, digest_size=16).digest()


def read_captured(kafka: KafkaSettings, topic: str) -> Captured:
    """Read all of the topic that is committed now."""
    found = Captured()
    config: dict[str, str | int | bool] = {
        **kafka.client(),
        "group.id": "millrace-reconcile",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "log_level": 2,
    }
    consumer = Consumer({**config, "isolation.level": "read_committed", "enable.partition.eof": True})
    try:
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        ended: set[int | None] = set()
        while len(ended) < len(partitions):
            events: list[tuple[bytes, bytes]] = []
            for message in consumer.consume(10_000, 1.0):
                error, key, value = message.error(), message.key(), message.value()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                elif error is None and key and value:
                    events.append((key, value))
            found.add(events)
    except BaseException:
        found.close()
        raise
    finally:
        consumer.close()
    return found
