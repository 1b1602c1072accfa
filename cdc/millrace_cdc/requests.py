"""Ad-hoc snapshots: asked for by a record in the progress topic, carried out by the running relay between its changes.

Key ``<ns>/request/<id>``, kind ``request``: ``filter`` in extended JSON. The record is removed in the transaction that ends the snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from millrace_cdc.errors import RelayError
from millrace_cdc.portions import Portion, Source
from millrace_cdc.progress import FORMAT, decode_record
from millrace_contracts.settings import KafkaSettings


def request_key(namespace: str, request_id: str) -> str:
    """Key of a request."""
    return f"{namespace}/request/{request_id}"


def encode_request(filter_json: str | None, now_ms: int) -> bytes:
    """A request's record."""
    return orjson.dumps({"format": FORMAT, "kind": "request", "filter": filter_json, "requested_ms": now_ms})


class RequestWatch:
    """Follows the progress topic in a thread of its own and collects the requests of one collection; id -> filter."""

    def __init__(self, kafka: KafkaSettings, topic: str, namespace: str) -> None:
        self._prefix = request_key(namespace, "")
        self._topic = topic
        config = {**kafka.client(), "group.id": "millrace-requests", "enable.auto.commit": False, "log_level": 0}
        self._consumer = Consumer({**config, "isolation.level": "read_committed", "auto.offset.reset": "earliest"})
        self._waiting: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="requests", daemon=True)

    def start(self) -> RequestWatch:
        """Read from the beginning: the topic is compacted and small."""
        self._consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        self._thread.start()
        return self

    def next(self) -> tuple[str, str | None] | None:
        """The oldest request that waits, or None; it stays until its record is removed."""
        with self._lock:
            return next(iter(self._waiting.items()), None)

    def done(self, request_id: str) -> None:
        """Forget a request whose snapshot has ended."""
        with self._lock:
            self._waiting.pop(request_id, None)

    def _follow(self) -> None:
        while not self._closing.is_set():
            for message in self._consumer.consume(500, 0.5):
                key = (message.key() or b"").decode()
                if message.error() or not key.startswith(self._prefix):
                    continue
                value = message.value()
                with self._lock:
                    if value is None:
                        self._waiting.pop(key.removeprefix(self._prefix), None)
                    else:
                        self._waiting[key.removeprefix(self._prefix)] = decode_record(value)["filter"]

    def close(self) -> None:
        """Stop to follow."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._consumer.close()


class StreamWithSnapshots:
    """A ``Source``: the change stream, and by turns the ad-hoc snapshot that is asked for, if any."""

    def __init__(self, stream: Source, wanted: Callable[[], Source | None], failed: Callable[[RelayError], Portion]) -> None:
        """``wanted`` opens the next snapshot that waits, or returns None; ``failed`` ends one that can not be read."""
        self._stream = stream
        self._wanted = wanted
        self._failed = failed
        self._snapshot: Source | None = None
        self._turn = False

    @property
    def finished(self) -> bool:
        """As the stream."""
        return self._stream.finished

    @property
    def backlog(self) -> bool:
        """Whether either has more."""
        return self._stream.backlog or self._snapshot is not None

    def take(self, seconds: float) -> Portion | None:
        """From the stream, or by turns from the snapshot; a stream that waits never waits for a snapshot."""
        try:
            self._snapshot = self._snapshot or self._wanted()
            self._turn = self._snapshot is not None and not self._turn
            portion = self._snapshot.take(0.0) if self._snapshot is not None and self._turn else None
        except RelayError as error:
            self._end()
            return self._failed(error)
        if self._snapshot is not None and self._snapshot.finished:
            self._end()
        if portion is None:
            portion = self._stream.take(seconds if self._snapshot is None else min(seconds, 0.02))
        return portion

    def _end(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
        self._snapshot = None

    def close(self) -> None:
        """Close both."""
        self._stream.close()
        self._end()
