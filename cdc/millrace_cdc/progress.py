"""The relay's progress: what is in the compacted progress topic, and how it is read.

Keys (``ns`` is ``<database>.<collection>``), values are JSON with ``format`` 1:

- ``<ns>/stream/<i>`` kind ``position``: where stream i of the collection goes on. ``token`` is the resume token of the last reply whose
  events are in the topic, or null with ``at`` = [seconds, ordinal], the cluster time to start at. ``fingerprint`` and ``partitions``
  say for which pipeline.
  ``already`` is there after the number of streams was changed: entry j is up to where old stream j had written, so that a stream that
  starts at the lowest of them does not repeat what is in the topic already.
- ``<ns>/snapshot/<id>`` kind ``snapshot`` and ``<ns>/snapshot/<id>/<chunk>`` kind ``chunk``: see ``snapshot``.

A record is written in the same Kafka transaction as the events that it covers (I2).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from millrace_cdc.errors import Misconfigured, Unavailable
from millrace_contracts.settings import KafkaSettings

FORMAT = 1
Records = dict[str, dict[str, Any]]
_REQUEST_SECONDS = 10.0


@dataclass(frozen=True)
class Position:
    """Where one stream goes on: after ``token``, or at the cluster time ``at`` (seconds, ordinal) when there is no token yet."""

    stream: int
    streams: int
    fingerprint: str
    partitions: int
    token: str | None = None
    at: tuple[int, int] | None = None
    start_after: bool = False
    """The token is an invalidate's: only ``startAfter`` goes past it."""
    already: tuple[str, ...] = ()
    """Tokens of the streams of an earlier topology, by their number; "" where one had written nothing."""

    def behind(self, token: str, start_after: bool = False) -> Position:
        """The position behind a change; what an earlier topology had written matters until the stream is past all of it."""
        already = self.already if any(token < other for other in self.already) else ()
        return replace(self, token=token, at=None, start_after=start_after, already=already)

    def encode(self, now_ms: int) -> bytes:
        """The record's value."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "kind": "position",
                "stream": self.stream,
                "streams": self.streams,
                "token": self.token,
                "at": self.at,
                "start_after": self.start_after,
                "already": self.already,
                "fingerprint": self.fingerprint,
                "partitions": self.partitions,
                "recorded_ms": now_ms,
            }
        )

    @classmethod
    def decode(cls, record: Mapping[str, Any]) -> Position:
        """A position from its record.

        Raises:
            Misconfigured: the record is of another format.
        """
        if record.get("format") != FORMAT or record.get("kind") != "position":
            raise Misconfigured(f"progress record {record!r} is of another version of the relay; see cdc/README.md, Progress")
        at = record["at"]
        return cls(
            stream=record["stream"],
            streams=record["streams"],
            fingerprint=record["fingerprint"],
            partitions=record["partitions"],
            token=record["token"],
            at=(at[0], at[1]) if at else None,
            start_after=record["start_after"],
            already=tuple(record.get("already", ())),
        )


def decode_record(value: bytes) -> dict[str, Any]:
    """A record's value."""
    record: dict[str, Any] = orjson.loads(value)
    return record


def position_key(namespace: str, stream: int) -> str:
    """Key of a stream's position."""
    return f"{namespace}/stream/{stream}"


def read_records(kafka: KafkaSettings, topic: str, within_seconds: float) -> Records:
    """The newest record of every key, read to the end and committed ones only.

    The end is the high watermark at the call and not the last stable offset: while another stream's transaction is open the
    stable offset may stand before our own last token, and reading only so far would repeat events.

    Raises:
        Misconfigured: the topic does not exist.
        Unavailable: the end was not reached in time.
    """
    end = _high_watermark(kafka, topic, within_seconds)
    consumer = Consumer(
        {
            **kafka.client(),
            "group.id": "millrace-progress-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            # The broker says that the end is reached when it answers a fetch there; it would keep that one for half a second.
            "fetch.wait.max.ms": 20,
            "log_level": 2,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        return _read_to(consumer, end, within_seconds) if end else {}
    finally:
        consumer.close()


def _read_to(consumer: Consumer, end: int, within_seconds: float) -> Records:
    records: Records = {}
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.05):
            error = message.error()
            if error is None:
                _apply(records, message.key() or b"", message.value())
            elif error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= end:
                return records
    raise Unavailable(f"the progress topic was not read to offset {end} in {within_seconds:.0f} s; is a transaction of another relay open?")


def _apply(records: Records, key: bytes, value: bytes | None) -> None:
    if value is None:
        records.pop(key.decode(), None)
    else:
        records[key.decode()] = decode_record(value)


def _high_watermark(kafka: KafkaSettings, topic: str, within_seconds: float) -> int:
    admin = AdminClient({**kafka.client(), "log_level": 2})
    deadline = time.monotonic() + within_seconds
    partition = TopicPartition(topic, 0)
    while True:
        try:
            latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            future = admin.list_offsets(
                {partition: latest},
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=_REQUEST_SECONDS,
            )[partition]
            return int(future.result().offset)
        except KafkaException as error:
            problem = error.args[0]
            if problem.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Misconfigured(f"the topic {topic} does not exist; run `millrace topics apply` first") from None
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka at {kafka.bootstrap} does not answer: {problem.str()}") from None
            time.sleep(0.2)
