"""What snapshots leave out is told as dead letters, by the id and the field that does not fit (I4).

Whoever looks after a snapshot finds all that it left out: a document that was put right since then has come through the stream, and the
analysis tells one that has ceased to fit since then. The letters hold no value, so that nothing personal leaves MongoDB (I12).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import KafkaException, Producer
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from millrace_cdc.connect.declarations import Declared
from millrace_cdc.connect.errors import ConnectError
from millrace_cdc.connect.snapshots.filters import collections, misfits
from millrace_contracts import exit_codes
from millrace_contracts.deadletters import DeadLetter
from millrace_contracts.settings import KafkaSettings, NamesSettings, Settings, SettingsError
from millrace_contracts.topics import dead_letter_topic
from millrace_contracts.values.bson_json import CODEC, key_text

SECONDS = 60.0


class LookError(ConnectError):
    """MongoDB or Kafka is away, or nobody said where they are: what snapshots left out is not told yet."""

    exit_code = exit_codes.UNAVAILABLE


class SourceSettings(Settings, group="MONGO"):
    """The source database as Debezium's user, who may read what it captures."""

    debezium_uri: str


@dataclass(frozen=True)
class LeftOut:
    """A document that no snapshot reads, and why."""

    collection: str
    key: bytes
    reason: str


class Look:
    """Finds what the snapshots of declared connectors leave out, and tells each once in the life of a process."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._told: set[LeftOut] = set()

    def tell(self, declared: list[Declared]) -> list[LeftOut]:
        """Write a dead letter for whatever is left out and has not been told; all that is left out now.

        Raises:
            LookError: MongoDB or Kafka does not answer, or a setting for them is missing.
        """
        names = [name for item in declared if item.state == "running" for name in collections(item.config)]
        if not names:
            return []
        try:
            source, kafka = SourceSettings.load(self._environ), KafkaSettings.load(self._environ)
            found = [each for name in names for each in _left_out(source.debezium_uri, name)]
            new = [each for each in found if each not in self._told]
            if new:
                _send(kafka, dead_letter_topic(NamesSettings.load(self._environ)), new)
        except (PyMongoError, KafkaException, SettingsError) as error:
            raise LookError(f"what snapshots leave out could not be looked for: {error}") from None
        self._told = set(found)
        return found


def _left_out(uri: str, name: str) -> Iterator[LeftOut]:
    database, _, collection = name.partition(".")
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000, appname="millrace-connect") as client:
        for row in client[database].get_collection(collection, codec_options=CODEC).aggregate(misfits()):
            field, kind = row["misfit"]["field"], row["misfit"]["type"]
            reason = f"{field} is of type {kind} in a form that a snapshot cannot read; put it right, and its change arrives"
            yield LeftOut(collection, key_text(row["_id"]), reason)


def _send(kafka: KafkaSettings, topic: str, found: list[LeftOut]) -> None:
    config = {"acks": "all", "enable.idempotence": True, "message.timeout.ms": int(SECONDS * 1000), "log_level": 0}
    producer = Producer({**kafka.client(), **config})
    failed: list[str] = []
    delivered: Callable[..., None] = lambda error, _: failed.append(error.str()) if error else None  # noqa: E731
    for each in found:
        letter: DeadLetter = {
            "stage": "connect", "reason": each.reason, "collection": each.collection, "at_ms": time.time_ns() // 1_000_000, "payload": ""
        }  # fmt: skip
        producer.produce(topic, orjson.dumps(letter), each.key, on_delivery=delivered)
        producer.poll(0)
    if producer.flush(2 * SECONDS) or failed:
        raise LookError(f"Kafka did not take the dead letters of {len(found)} documents: {next(iter(failed), 'it does not answer')}")
