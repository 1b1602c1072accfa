"""Bookmarks: names for points of the change stream, kept in the progress topic.

Key ``<ns>/bookmark/<name>``, kind ``bookmark``: ``token``, ``at`` = [seconds, ordinal], ``note``, ``created_ms``. A bookmark holds nothing
back: whether its point can still be reached is a matter of the oplog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from millrace_cdc.errors import Misconfigured, Unavailable
from millrace_cdc.progress import FORMAT, Records
from millrace_cdc.replay.points import NAME, RESERVED, Time
from millrace_contracts.settings import KafkaSettings

WRITE_SECONDS = 30.0


@dataclass(frozen=True)
class Bookmark:
    """A named point."""

    name: str
    token: str
    at: Time
    note: str
    created_ms: int

    def encode(self) -> bytes:
        """The record."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "kind": "bookmark",
                "token": self.token,
                "at": self.at,
                "note": self.note,
                "created_ms": self.created_ms,
            }
        )

    @classmethod
    def decode(cls, name: str, record: Mapping[str, Any]) -> Bookmark:
        """A bookmark from its record."""
        return cls(name, record["token"], (record["at"][0], record["at"][1]), record["note"], record["created_ms"])


def bookmark_key(namespace: str, name: str) -> str:
    """Key of a bookmark."""
    return f"{namespace}/bookmark/{name}"


def check_name(name: str) -> None:
    """Refuse a name that could be taken for another kind of point.

    Raises:
        Misconfigured: says what a name looks like.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise Misconfigured(
            f"NAME: {name!r} can not name a bookmark; a letter, then up to 63 letters, digits, . _ -, and not now or oldest"
        )


def bookmarks(namespace: str, records: Records) -> dict[str, Bookmark]:
    """The bookmarks of a collection by name, in order of their points."""
    prefix = bookmark_key(namespace, "")
    found = [Bookmark.decode(key.removeprefix(prefix), record) for key, record in records.items() if key.startswith(prefix)]
    return {each.name: each for each in sorted(found, key=lambda each: each.at)}


def find(namespace: str, records: Records, name: str) -> Bookmark:
    """One bookmark.

    Raises:
        Misconfigured: there is none of this name; the message lists those that there are.
    """
    found = bookmarks(namespace, records)
    if name not in found:
        there = ", ".join(found) or "none"
        raise Misconfigured(f"{namespace} has no bookmark {name!r} (there are: {there}); `millrace bookmark add {name}` makes one")
    return found[name]


def write(kafka: KafkaSettings, topic: str, key: str, value: bytes | None) -> None:
    """Write one record to the progress topic and wait until the broker has it; None removes it.

    Raises:
        Unavailable: Kafka did not take it in time.
    """
    failed: list[KafkaError] = []
    config = {**kafka.client(), "enable.idempotence": True, "message.timeout.ms": int(WRITE_SECONDS * 1000), "log_level": 0}
    producer = Producer({**config, "partitioner": "murmur2_random"})
    try:
        producer.produce(topic, value, key.encode(), on_delivery=lambda error, _: failed.append(error) if error else None)
        left = producer.flush(WRITE_SECONDS)
    except KafkaException as error:
        raise Unavailable(f"Kafka refused to write to {topic}: {error.args[0].str()}") from None
    if left or failed:
        raise Unavailable(f"Kafka at {kafka.bootstrap} did not take the record within {WRITE_SECONDS:.0f} s; see that the broker runs")
