"""A source database with the real roles and topics, shared by a module's tests."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from pymongo import MongoClient

from millrace_cdc.replay.bookmark_cli import bookmark
from millrace_cdc.replay.cli import replay
from millrace_cdc.topics_cli import topics
from millrace_contracts.settings import NamesSettings
from millrace_contracts.topics import declared
from millrace_mongo_init.cli import mongo_init
from tests.support.servers import unique_names
from tests.support.waiting import wait_until

Settings = dict[str, str]
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    """A record as a read_committed consumer gets it."""

    partition: int
    key: str | None
    value: dict[str, Any]
    headers: dict[str, str]


@pytest.fixture(scope="module")
def environ(mongo_server: Settings, kafka_server: Settings) -> Settings:
    """Settings of a module's own database and topics, declared; the replay runs as the relay's own user."""
    own = {**kafka_server, **mongo_server, **unique_names()}
    for command in (mongo_init, topics):
        done = CliRunner().invoke(command, ["apply"], obj=own, standalone_mode=False)
        assert done.return_value == 0, done.output
    names = {topic.name for topic in declared(NamesSettings.load(own))}
    admin = AdminClient({"bootstrap.servers": own["MILLRACE_KAFKA_BOOTSTRAP"]})
    wait_until(lambda: names <= admin.list_topics(timeout=60).topics.keys(), 60, "every topic is known to the broker")
    return own


@pytest.fixture(scope="module")
def payments(environ: Settings) -> Iterator[Any]:
    """The collection, as the administrator."""
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"], tz_aware=True) as client:
        yield client[environ["MILLRACE_NAMES_DATABASE"]].payments


def payment(name: str, merchant: str = "m1", amount: int = 100) -> dict[str, Any]:
    """A valid document."""
    return {
        "_id": name, "merchantId": merchant, "amount": amount, "currency": "EUR", "method": "card", "points": {"used": 0, "earned": 1},
        "user": {"id": "RAW-USER", "key": "k" * 22}, "status": "succeeded", "paidAt": NOW, "refunds": [], "createdAt": NOW,
        "updatedAt": NOW, "schemaVersion": 1,
    }  # fmt: skip


def run(environ: Settings, *arguments: str) -> Result:
    """``millrace replay ...`` or, with ``bookmark`` first, ``millrace bookmark ...``."""
    command, rest = (bookmark, arguments[1:]) if arguments[0] == "bookmark" else (replay, arguments)
    result = CliRunner().invoke(command, rest, obj=environ, standalone_mode=False)
    assert result.exception is None, (result.output, result.exception)
    return result


def answer(environ: Settings, *arguments: str) -> Any:
    """The JSON that a command prints when all is well."""
    done = run(environ, *arguments, "--json")
    assert done.return_value == 0, done.output
    return json.loads(done.stdout)


def live_topic(environ: Settings) -> str:
    """The change topic."""
    return f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.{environ['MILLRACE_NAMES_DATABASE']}.payments"


def records(environ: Settings, topic: str) -> list[Record]:
    """All that a topic holds now; markers are left out."""
    config = {
        "bootstrap.servers": environ["MILLRACE_KAFKA_BOOTSTRAP"],
        "group.id": secrets.token_hex(8),
        "isolation.level": "read_committed",
    }
    consumer = Consumer({**config, "enable.partition.eof": True, "fetch.wait.max.ms": 20})
    found: list[Record] = []
    try:
        partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        open_ones, deadline = set(partitions), time.monotonic() + 180
        while open_ones:
            assert time.monotonic() < deadline, f"{topic} was not read to its end"
            for message in consumer.consume(5_000, timeout=0.05):
                if message.error() is not None:
                    open_ones.discard(message.partition())
                elif message.key() is not None:
                    headers = {name: data.decode() for name, data in message.headers() or []}
                    found.append(Record(message.partition() or 0, message.key().decode(), json.loads(message.value()), headers))
        return found
    finally:
        consumer.close()


def offsets(environ: Settings, topic: str) -> int:
    """How far the topic reaches for a read_committed reader, commit records included: a quick look while a replay works."""
    admin = AdminClient({"bootstrap.servers": environ["MILLRACE_KAFKA_BOOTSTRAP"]})
    there = admin.list_topics(timeout=60).topics
    ends = {TopicPartition(topic, number): OffsetSpec.latest() for number in (there[topic].partitions if topic in there else ())}
    if not ends:
        return 0
    found = admin.list_offsets(ends, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=60)
    try:
        return sum(future.result().offset for future in found.values())
    except KafkaException:  # right after it was made a topic has no leader yet
        return 0


@contextmanager
def process(environ: Settings, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``millrace ...`` as a process; killed at the end where it still runs."""
    with log.open("ab") as file:
        started = subprocess.Popen(
            [sys.executable, "-m", "millrace", *arguments], env={**os.environ, **environ}, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def relay(environ: Settings, log: Path) -> Iterator[None]:
    """A live relay, stopped cleanly."""
    with process(environ, log, "relay", "run") as started:
        wait_until(lambda: '"streaming"' in log.read_text() or started.poll() is not None, 180, "the relay streams")
        assert started.poll() is None, log.read_text()
        yield
        started.send_signal(signal.SIGTERM)
        assert started.wait(120) == 0, log.read_text()
