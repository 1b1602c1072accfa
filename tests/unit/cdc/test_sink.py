"""How the sink tells Kafka's errors apart: to be tried again, to abort, fenced, fatal."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from millrace_cdc.errors import Fenced, ProducerInDoubt, RelayError, TransactionAborted, Unavailable
from millrace_cdc.portions import Portion
from millrace_cdc.sink import SURE_SECONDS, KafkaSink, Topics, producer_config
from millrace_contracts.settings import KafkaSettings

TOPICS = Topics("changes", 3, "progress", "dead-letters", "audit")


class FakeProducer:
    """Raises what it is told, call by call; remembers what it was given."""

    def __init__(self, **failures: list[Exception]) -> None:
        self.failures = failures
        self.calls: list[str] = []
        self.left: list[int] = []
        """What the next flushes leave in the queue."""
        self.sent: list[tuple[str, bytes | None, bytes | None, int, dict[str, bytes]]] = []

    def _step(self, name: str) -> None:
        self.calls.append(name)
        if self.failures.get(name):
            raise self.failures[name].pop(0)

    def init_transactions(self, timeout: float) -> None:
        self._step("init")

    def begin_transaction(self) -> None:
        self._step("begin")

    def commit_transaction(self, timeout: float) -> None:
        self._step("commit")

    def abort_transaction(self, timeout: float) -> None:
        self._step("abort")

    def produce(self, topic: str, value: Any, key: Any, partition: int, headers: dict[str, bytes]) -> None:
        self._step("produce")
        self.sent.append((topic, key, value, partition, headers))

    def poll(self, seconds: float) -> None:
        pass

    def flush(self, seconds: float) -> int:
        return self.left.pop(0) if self.left else 0


def failure(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, "told to", fatal, retriable, abort))


def sink(**failures: list[Exception]) -> tuple[KafkaSink, FakeProducer]:
    producer = FakeProducer(**failures)
    return KafkaSink(lambda: producer, TOPICS, "id", 1.0, lambda: False), producer  # type: ignore[arg-type]


def test_a_commit_carries_position_audit_and_a_marker_for_every_partition() -> None:  # I2
    made, producer = sink()
    made.begin()
    made.produce(Portion([(b"k", b"v")], [(b"d", b"letter")]))
    made.commit({"position": b"p", "gone": None}, b"mark", b"counts")
    assert [(topic, key, value, partition) for topic, key, value, partition, _ in producer.sent] == [
        ("changes", b"k", b"v", -1),
        ("dead-letters", b"d", b"letter", -1),
        ("progress", b"position", b"p", -1),
        ("progress", b"gone", None, -1),
        ("audit", None, b"counts", -1),
        ("changes", None, b"mark", 0),
        ("changes", None, b"mark", 1),
        ("changes", None, b"mark", 2),
    ]
    kinds = [headers["millrace-kind"] for *_, headers in producer.sent]
    assert kinds == [b"change"] * 5 + [b"low-water"] * 3


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
def test_a_relay_that_another_one_has_replaced_knows_it(code: int) -> None:  # I3
    made, _ = sink(commit=[failure(code)])
    with pytest.raises(Fenced, match="another relay has taken over the transactional id id"):
        made.commit({}, None)


def test_produce_says_only_that_it_failed_for_good_and_the_reason_is_asked_for() -> None:
    made, _ = sink(produce=[failure(KafkaError._FATAL)], abort=[failure(KafkaError._FENCED, fatal=True)])
    with pytest.raises(Fenced):
        made.produce(Portion([(b"k", b"v")]))


def test_an_abortable_error_aborts_and_says_that_nothing_is_visible() -> None:
    made, producer = sink(commit=[failure(KafkaError._TIMED_OUT, abort=True)])
    with pytest.raises(TransactionAborted):
        made.commit({}, None)
    assert producer.calls == ["commit", "abort"]


def test_a_fatal_error_ends_the_relay() -> None:
    made, producer = sink(commit=[failure(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True)])
    with pytest.raises(RelayError, match="start the relay again"):
        made.commit({}, None)
    assert "abort" not in producer.calls


def test_a_broker_that_is_away_is_tried_again() -> None:
    made, producer = sink(commit=[failure(KafkaError._TIMED_OUT), failure(KafkaError.COORDINATOR_NOT_AVAILABLE, retriable=True)])
    made.commit({}, None)
    assert producer.calls == ["commit"] * 3
    assert made.waiting_since is None


def test_a_broker_that_stays_away_ends_the_relay_with_its_own_code() -> None:
    made, _ = sink(init=[failure(KafkaError._TIMED_OUT)] * 50)
    with pytest.raises(Unavailable, match="step: take over"):
        made.fence()
    assert made.waiting_since is not None


def test_a_full_queue_waits_for_the_broker_and_goes_on_where_it_was() -> None:
    made, producer = sink(produce=[BufferError()])
    made.produce(Portion([(b"a", b"1"), (b"b", b"2")]))
    assert [key for _, key, *_ in producer.sent] == [b"a", b"b"]


def test_the_producer_agrees_with_java_about_partitions() -> None:  # I3
    config = producer_config(KafkaSettings(bootstrap="host:1"), "id", 60_000, 4_000_000)
    assert (config["partitioner"], config["message.max.bytes"], config["transactional.id"]) == ("murmur2_random", 4_000_000, "id")


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_producer_whose_end_of_a_transaction_took_as_long_as_a_second_request_is_not_used_again(end: str) -> None:  # I2
    seconds = iter([0.0, 0.0, 0.0, SURE_SECONDS])  # when each end begins and has come back
    made: list[FakeProducer] = []

    def make() -> FakeProducer:
        made.append(FakeProducer())
        return made[-1]

    writer = KafkaSink(make, TOPICS, "id", 1.0, lambda: False, lambda: next(seconds))  # type: ignore[arg-type]
    for _ in range(2):
        writer.begin()
        if end == "commit":
            writer.commit({}, None)
        else:
            writer.abort()
    with pytest.raises(ProducerInDoubt):
        writer.begin()
    writer.fence()
    writer.begin()
    assert [each.calls for each in made] == [["begin", end, "begin", end], ["init", "begin"]]


def test_time_that_the_events_took_to_arrive_is_none_of_the_commits() -> None:
    made, producer = sink()
    producer.left = [7, 3]
    made.begin()
    made.commit({}, None)
    assert producer.calls == ["begin", "commit"]
    made.begin()
