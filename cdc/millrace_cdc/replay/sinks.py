"""Where a replay writes: Kafka with a header that says so, or, in a dry run, nowhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_cdc.errors import Misconfigured, Unavailable
from millrace_cdc.portions import Message, Portion
from millrace_cdc.sink import CHANGE_HEADERS, Headers, KafkaSink, Topics
from millrace_contracts import changes
from millrace_contracts.settings import KafkaSettings, NamesSettings
from millrace_contracts.topics import declared

_REQUEST_SECONDS = 10.0
_KEEP_MS = str(7 * 86_400_000)


class ReplaySink(KafkaSink):
    """The relay's sink with the header ``millrace-replay`` on every event and dead letter."""

    def __init__(
        self, make: Callable[[], Producer], topics: Topics, transactional_id: str, retry_seconds: float, stopping: Any, replay_id: str
    ) -> None:
        super().__init__(make, topics, transactional_id, retry_seconds, stopping)
        self._headers: Headers = {**CHANGE_HEADERS, changes.HEADER_REPLAY: replay_id.encode()}

    def begin(self) -> None:
        """Open a transaction. No one else writes by this id, so that a new producer goes on where this one was."""
        if self.in_doubt:
            self.fence()
        super().begin()

    def produce(self, portion: Portion) -> None:
        """Put a portion into the open transaction."""
        self._send(self.topics.changes, portion.events, self._headers)
        self._send(self.topics.dead_letters, portion.dead_letters, self._headers)


@dataclass
class DrySink:
    """Counts and samples what would be sent."""

    samples_wanted: int = 3
    by_op: dict[str, int] = field(default_factory=dict)
    dead_letters: int = 0
    size: int = 0
    """Bytes of the events."""
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> int:
        """All events."""
        return sum(self.by_op.values())

    def begin(self) -> None:
        """Nothing to open."""

    def produce(self, portion: Portion) -> None:
        """Count a portion."""
        for message in portion.events:
            self._count(message)
        self.dead_letters += len(portion.dead_letters)
        self.size += portion.bytes

    def commit(self, progress: Mapping[str, bytes | None], marker: bytes | None, audit: bytes | None = None) -> None:
        """Nothing to commit."""

    def _count(self, message: Message) -> None:
        key, value = message
        op = value[7:8].decode()  # {"op":"c",…
        self.by_op[op] = self.by_op.get(op, 0) + 1
        if len(self.samples) < self.samples_wanted:
            self.samples.append({"key": (key or b"").decode(), "value": orjson.loads(value)})


def target_topic(kafka: KafkaSettings, names: NamesSettings, live: Topics, wanted: str | None) -> Topics:
    """The topics of a replay to ``wanted``, which is made with the live topic's partitions where it does not exist; None is the live topic.

    Raises:
        Misconfigured: the name is that of another of our topics, or Kafka does not take it.
        Unavailable: Kafka does not answer.
    """
    if wanted is None or wanted == live.changes:
        return live
    if wanted in {topic.name for topic in declared(names)}:
        raise Misconfigured(f"--topic: {wanted} is one of ours with another meaning; name a topic of the replay's own")
    admin = AdminClient({**kafka.client(), "log_level": 0})
    try:
        there = admin.list_topics(timeout=_REQUEST_SECONDS).topics
        if wanted not in there:
            config = {"cleanup.policy": "delete", "retention.ms": _KEEP_MS}
            made = NewTopic(wanted, live.partitions, config=config)
            admin.create_topics([made], request_timeout=_REQUEST_SECONDS)[wanted].result()
    except KafkaException as error:
        if error.args[0].retriable():
            raise Unavailable(f"Kafka at {kafka.bootstrap} does not answer: {error.args[0].str()}") from None
        raise Misconfigured(f"--topic: {wanted}: {error.args[0].str()}") from None
    partitions = len(there[wanted].partitions) if wanted in there else live.partitions
    return Topics(wanted, partitions, live.progress, live.dead_letters, live.audit)
