"""A server that goes away while the stream or a job starts is what it is later: waited for, with words, and code 3 after its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
from cassandra import InvalidRequest, OperationTimedOut, ReadTimeout
from cassandra.cluster import NoHostAvailable
from confluent_kafka import KafkaError, KafkaException
from py4j.protocol import Py4JNetworkError
from pymongo.errors import ServerSelectionTimeoutError
from pyspark.errors import PythonException

from millrace_contracts import exit_codes
from millrace_processors import command_errors, report_store, sources, streaming, tables
from millrace_processors.errors import CommandError, ProcessorsError, UnavailableError
from millrace_processors.metrics import Metrics
from millrace_processors.progress import LowWater
from millrace_processors.settings import Config
from millrace_processors.streaming import Streaming
from millrace_runtime.stopping import StopSignal

AWAY: tuple[Exception, ...] = (
    NoHostAvailable("Unable to complete the operation against any hosts", {}),
    OperationTimedOut({"127.0.0.1": "Client request timeout"}),
    ReadTimeout("Coordinator node timed out", consistency=6, required_responses=1, received_responses=0),
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.load({"MILLRACE_SPARK_JARS": str(tmp_path), "MILLRACE_HOME": str(tmp_path), "MILLRACE_RUNTIME_AWAY_SECONDS": "0"})


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        *((error, exit_codes.UNAVAILABLE, "Cassandra does not answer") for error in AWAY),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), exit_codes.UNAVAILABLE, "Kafka does not answer"),
        (ServerSelectionTimeoutError("refused, Timeout: 30s"), exit_codes.UNAVAILABLE, "MongoDB does not answer (refused)"),
        (InvalidRequest("unconfigured table progress"), exit_codes.USAGE, "run `millrace process tables`"),
        (Py4JNetworkError("Answer from Java side is empty"), exit_codes.FATAL, "Answer from Java side is empty"),
        (PythonException("cassandra.cluster.NoHostAvailable: ('Unable', {})"), exit_codes.UNAVAILABLE, "NoHostAvailable"),
        (PythonException("ValueError: a bug of ours"), exit_codes.FATAL, "ValueError: a bug of ours"),
        (UnavailableError("Kafka at k does not answer"), exit_codes.UNAVAILABLE, "Kafka at k does not answer"),
        (CommandError("there is no topic t"), exit_codes.USAGE, "there is no topic t"),
        (ProcessorsError("a batch failed"), exit_codes.FATAL, "a batch failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_drivers_error_ends_a_command_with_words_and_its_code(error: Exception, code: int, words: str) -> None:
    with pytest.raises(click.ClickException) as failed, command_errors.reported():
        raise error
    assert failed.value.exit_code == code
    assert words in failed.value.message


def test_an_error_of_our_own_keeps_its_trace() -> None:
    with pytest.raises(KeyError), command_errors.reported():
        raise KeyError("ours")


class Started:
    """What Spark gives for a query that runs."""

    isActive = True

    def stop(self) -> None:
        self.isActive = False


class Frame:
    """A stream of records that starts whatever it is told."""

    def __getattr__(self, name: str) -> Any:
        return self if name == "writeStream" else lambda *_, **__: self

    def start(self) -> Started:
        return Started()


@pytest.fixture
def job(config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Streaming]:
    monkeypatch.setattr(streaming, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(streaming, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(streaming, "PaymentsBatch", lambda *arguments: SimpleNamespace())
    monkeypatch.setattr(streaming.sources, "stream", lambda *_: Frame())
    monkeypatch.setattr(streaming.sources, "partitions", lambda *_: 4)

    def make(patience: float = 600.0) -> Streaming:
        processors = config.processors.model_copy(update={"patience_seconds": patience})
        made = SimpleNamespace(**{**vars(config), "processors": processors})
        return Streaming(cast("Config", made), cast("Any", None), Metrics(), ("payments",), "1 second")

    return make


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_the_stream_waits_for_the_store_that_holds_its_progress(
    job: Callable[..., Streaming], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is connecting, preparing or reading that fails."""
    stream, stop, states, refusals = job(), StopSignal(), list[str](), iter([error] * 3)

    def load(self: Any, name: str, partitions: int) -> LowWater:
        states.append(stream.queries[0].state)
        for each in refusals:
            raise each
        return LowWater(partitions)

    monkeypatch.setattr(report_store, "session", lambda _: SimpleNamespace(prepare=lambda _: None))
    monkeypatch.setattr(streaming.ProgressTable, "load", load)
    monkeypatch.setattr(stop, "wait", lambda _: stop.set() if stream.readiness()[0] else None)
    stream.run(stop)
    assert states[0] == "starting"
    assert len(states) == 4
    assert all("Cassandra at 127.0.0.1:9042 does not answer" in state for state in states[1:])


def test_a_store_that_stays_away_ends_the_stream_with_its_name_after_its_time(
    job: Callable[..., Streaming], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Any) -> Any:
        raise AWAY[0]

    monkeypatch.setattr(report_store, "session", away)
    with pytest.raises(UnavailableError, match=r"has not finished a batch for 0 s: Cassandra at .* does not answer"):
        job(patience=0.01).run(StopSignal())


def test_a_missing_topic_ends_the_stream_at_once(job: Callable[..., Streaming], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> int:
        raise CommandError("there is no topic t; run `millrace topics apply`")

    monkeypatch.setattr(sources, "partitions", missing)
    with pytest.raises(CommandError, match="there is no topic t"):
        job().run(StopSignal())


def test_a_question_of_a_start_is_asked_again_and_names_the_tables_that_are_missing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def session(_: Any) -> Any:
        asked.append(1)
        if len(asked) < 3:
            raise AWAY[len(asked) % 3]
        return SimpleNamespace()

    monkeypatch.setattr(report_store, "session", session)
    assert tables.asked(config, lambda _: "progress", patience=3600) == "progress"
    assert len(asked) == 3

    def unknown(_: Any) -> Any:
        raise InvalidRequest("unconfigured table progress")

    with pytest.raises(CommandError, match=r"unconfigured table progress.*run `millrace process tables`"):
        tables.asked(config, unknown)
