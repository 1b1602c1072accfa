"""Kafka, in transactions: events, dead letters, audits, progress and markers become visible together or not at all (I2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from millrace_cdc.errors import Fenced, ProducerInDoubt, RelayError, TransactionAborted, Unavailable
from millrace_cdc.portions import Portion
from millrace_contracts import changes
from millrace_contracts.settings import KafkaSettings

FENCING = frozenset([KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
Headers = dict[str, str | bytes | None]
CHANGE_HEADERS: Headers = {
    changes.HEADER_CONTENT_TYPE: changes.CONTENT_TYPE_JSON.encode(),
    changes.HEADER_SCHEMA_VERSION: changes.EVENT_SCHEMA_VERSION.encode(),
    changes.HEADER_KIND: changes.KIND_CHANGE.encode(),
}
MARKER_HEADERS: Headers = {**CHANGE_HEADERS, changes.HEADER_KIND: changes.KIND_LOW_WATER.encode()}
ATTEMPT_SECONDS = 5.0
RETRY_SECONDS = 1.0
"""The producer asks again after this pause at the earliest, shorter by a fifth at random (KIP-580)."""
SURE_SECONDS = 0.75 * RETRY_SECONDS
"""A transaction that was ended faster was ended by one request: a second one would have had to wait for its pause."""
log = structlog.get_logger()


@dataclass(frozen=True)
class Topics:
    """Where messages go; ``partitions`` is the change topic's number, each of which gets the markers."""

    changes: str
    partitions: int
    progress: str
    dead_letters: str
    audit: str


def producer_config(kafka: KafkaSettings, transactional_id: str, transaction_timeout_ms: int, max_message_bytes: int) -> dict[str, object]:
    """Settings of the producer; the partitioner is the one that Java clients use, so that a key has one partition everywhere (I3)."""
    return {
        **kafka.client(),
        "transactional.id": transactional_id,
        "transaction.timeout.ms": transaction_timeout_ms,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "message.max.bytes": max_message_bytes,
        "linger.ms": 2,
        "retry.backoff.ms": round(RETRY_SECONDS * 1000),
        "retry.backoff.max.ms": round(RETRY_SECONDS * 1000),
        "batch.num.messages": 20_000,
        "queue.buffering.max.messages": 500_000,
        "queue.buffering.max.kbytes": 65_536,
        "delivery.report.only.error": True,
        # librdkafka's own lines about every attempt to connect are not ours: the retries below tell what matters.
        "log_level": 2,
    }


class KafkaSink:
    """One transactional producer at a time. ``retry_seconds``: how long the broker may stay away; ``stopping`` shortens it.

    A request that ends a transaction, was lost with its connection and repeated, may still arrive, and would end the NEXT transaction
    of the same producer epoch (librdkafka#5423). So a producer that may have sent two is not used again.
    """

    def __init__(
        self,
        make: Callable[[], Producer],
        topics: Topics,
        transactional_id: str,
        retry_seconds: float,
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._producer = make()
        self.topics = topics
        self.in_doubt = False
        """Whether an end of a transaction may still be under way: nothing can begin before ``fence``."""
        self._id = transactional_id
        self._retry_seconds = retry_seconds
        self._stopping = stopping
        self._clock = clock
        self.waiting_since: float | None = None
        """When the broker stopped to answer, on the monotonic clock."""

    def fence(self) -> None:
        """Take the transactional id over: a relay that still holds it can commit nothing more, its open transaction is aborted (I3)."""
        if self.in_doubt:
            self._producer = self._make()
            self.in_doubt = False
        self._retried("take over", lambda: self._producer.init_transactions(ATTEMPT_SECONDS))

    def begin(self) -> None:
        """Open a transaction; nothing is sent yet.

        Raises:
            ProducerInDoubt: ``fence`` first; another relay may have taken over, so that the position is to be read again.
        """
        if self.in_doubt:
            raise ProducerInDoubt("the end of the last transaction may have been sent twice; a new producer takes over")
        self._retried("begin", self._producer.begin_transaction)

    def produce(self, portion: Portion) -> None:
        """Put a portion into the open transaction."""
        self._send(self.topics.changes, portion.events, CHANGE_HEADERS)
        self._send(self.topics.dead_letters, portion.dead_letters, CHANGE_HEADERS)
        self._send(self.topics.audit, portion.audits, CHANGE_HEADERS)

    def commit(self, progress: Mapping[str, bytes | None], marker: bytes | None, audit: bytes | None = None) -> None:
        """Add progress, markers and the audit record, and commit."""
        self.record(progress)
        if audit is not None:
            self._send(self.topics.audit, [(None, audit)], CHANGE_HEADERS)
        for partition in range(self.topics.partitions) if marker is not None else ():
            self._send(self.topics.changes, [(None, marker or b"")], MARKER_HEADERS, partition)
        self._retried("commit", self._flushed)
        self._end("commit", self._producer.commit_transaction)

    def record(self, progress: Mapping[str, bytes | None]) -> None:
        """Put progress records into the open transaction; None removes one."""
        self._send(self.topics.progress, [(key.encode(), value) for key, value in progress.items()], CHANGE_HEADERS)

    def flush(self) -> None:
        """Wait until the broker has everything that was sent."""
        if self._producer.flush(self._retry_seconds):
            raise Unavailable(f"Kafka took nothing for {self._retry_seconds:.0f} s; see that the broker runs")

    def abort(self) -> None:
        """Give the open transaction up."""
        self._end("abort", self._producer.abort_transaction)

    def _end(self, what: str, action: Callable[[float], object]) -> None:
        """End the transaction, and note whether more than one request may have been sent for it."""
        started = self._clock()
        try:
            self._retried(what, lambda: action(ATTEMPT_SECONDS))
        finally:
            self.in_doubt = self._clock() - started >= SURE_SECONDS

    def _flushed(self) -> None:
        """What was sent has arrived: only the request for the end is left, whose time tells whether it was repeated."""
        if self._producer.flush(ATTEMPT_SECONDS):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the broker has not taken everything"))

    def _send(self, topic: str, messages: Sequence[tuple[bytes | None, bytes | None]], headers: Headers, partition: int = -1) -> None:
        if not messages:
            return
        produce = self._producer.produce
        deadline = time.monotonic() + self._retry_seconds
        position, total = 0, len(messages)
        while position < total:
            try:
                for key, value in messages[position:] if position else messages:
                    produce(topic, value, key, partition, headers=headers)
                    position += 1
                break
            except BufferError:
                pass  # the local queue is full, in messages or bytes: wait until the broker has taken some of it (back-pressure)
            except KafkaException as error:
                self._judge("produce", error.args[0])
            self._producer.poll(0.02)
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka took nothing for {self._retry_seconds:.0f} s; see that the broker runs")
        self._producer.poll(0)

    def _retried(self, what: str, action: Callable[[], object]) -> None:
        """Carry out a transaction call; retriable errors and timeouts are tried again for as long as the settings say."""
        started = time.monotonic()
        while True:
            try:
                action()
                self.waiting_since = None
                return
            except KafkaException as error:
                # Known before the next attempt, which takes its time: /ready tells it.
                self.waiting_since = self.waiting_since or started
                self._judge(what, error.args[0])
                log.warning("kafka is away, trying again", step=what, error=str(error.args[0]))
            waited = time.monotonic() - started
            if waited > (ATTEMPT_SECONDS if self._stopping() else self._retry_seconds):
                raise Unavailable(f"Kafka did not answer for {waited:.0f} s (step: {what}); see that the broker runs")
            time.sleep(0.2)

    def _judge(self, what: str, error: KafkaError) -> None:
        """Return for an error that may be tried again; raise for the others, with the transaction aborted where it can be."""
        if error.code() == KafkaError._FATAL:
            error = self._cause(error)
        if error.code() in FENCING:
            raise Fenced(f"another relay has taken over the transactional id {self._id} ({error.str()}); only one may hold it")
        if error.fatal():
            raise RelayError(f"Kafka's producer failed for good at {what}: {error.str()}; start the relay again")
        if error.txn_requires_abort():
            log.warning("transaction aborted", step=what, error=error.str())
            self.abort()
            raise TransactionAborted(error.str())
        if not error.retriable() and error.code() != KafkaError._TIMED_OUT:
            raise RelayError(f"Kafka refused to {what}: {error.str()}")

    def _cause(self, error: KafkaError) -> KafkaError:
        """What made the producer fail for good: produce says only that it did, a transaction call says why."""
        try:
            self._producer.abort_transaction(ATTEMPT_SECONDS)
        except KafkaException as cause:
            found: KafkaError = cause.args[0]
            return found
        return error
