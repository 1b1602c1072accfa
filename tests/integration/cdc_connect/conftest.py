"""A source database and a Connect cluster, shared by this folder's tests, and the topics as a consumer reads them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient

from millrace_cdc.connect.cli import connect
from millrace_cdc.connect.client import ConnectClient
from millrace_contracts.settings import ConnectSettings
from millrace_mongo_init.cli import mongo_init
from tests.support.servers import unique_names
from tests.support.waiting import wait_until

Settings = dict[str, str]


@dataclass(frozen=True)
class Record:
    """A record as a read_committed consumer gets it."""

    key: str | None
    value: dict[str, Any] | None
    headers: dict[str, str]
    raw: bytes


@pytest.fixture(scope="module")
def environ(mongo_server: Settings, connect_server: Settings) -> Iterator[Settings]:
    """Settings of a module's own database and topics, with the database declared; its connectors are deleted at the end."""
    own = {**connect_server, **mongo_server, **unique_names()}
    done = CliRunner().invoke(mongo_init, ["apply"], obj=own, standalone_mode=False)
    assert done.return_value == 0, done.output
    yield own
    with client_of(own) as client:
        for name in client.names():
            if name.startswith(own["MILLRACE_NAMES_TOPIC_PREFIX"]):
                client.delete(name)


@pytest.fixture(scope="module")
def database(environ: Settings) -> Iterator[Any]:
    """The source database, as its administrator."""
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"], tz_aware=True) as client:
        yield client[environ["MILLRACE_NAMES_DATABASE"]]


def client_of(environ: Settings) -> ConnectClient:
    """A client of the worker, logged in."""
    settings = ConnectSettings.load(environ)
    return ConnectClient(settings.url, login=settings.login())


def run(environ: Settings, *arguments: str) -> Result:
    """``millrace connect ...``; the exit code is in ``return_value``, whichever way the command ended."""
    result = CliRunner().invoke(connect, arguments, obj=environ, standalone_mode=False)
    assert result.exception is None, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def passwords(environ: Settings) -> list[str]:
    """Every password that is known here."""
    uris = [value for name, value in environ.items() if name.startswith("MILLRACE_MONGO_") and name.endswith("_URI")]
    return [uri.split("://")[1].split("@")[0].split(":")[1] for uri in uris]


@pytest.fixture(scope="module")
def records(environ: Settings) -> Callable[[str, int], list[Record]]:
    """Read a collection's topic from its beginning until it holds at least so many records."""

    def read(collection: str, at_least: int, seconds: float = 180.0) -> list[Record]:
        topic = f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.{environ['MILLRACE_NAMES_DATABASE']}.{collection}"
        return read_topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], topic, at_least, seconds)

    return read


def read_topic(bootstrap: str, topic: str, at_least: int, seconds: float) -> list[Record]:
    """Every committed record of a topic, once there are enough."""
    deadline = time.monotonic() + seconds
    admin = AdminClient({"bootstrap.servers": bootstrap})
    partitions: Collection[int] = ()

    def there() -> bool:
        nonlocal partitions
        found = admin.list_topics(timeout=60).topics.get(topic)
        partitions = found.partitions if found is not None else ()
        return bool(partitions)

    wait_until(there, seconds, f"there is a topic {topic}")
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": secrets.token_hex(8),
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found: list[Record] = []
    try:
        while len(found) < at_least:
            assert time.monotonic() < deadline, f"after {seconds:.0f} s {topic} holds {len(found)} records: {found}"
            for message in consumer.consume(500, timeout=0.2):
                assert message.error() is None, message.error()
                value = message.value()
                found.append(
                    Record(
                        key=message.key().decode() if message.key() is not None else None,
                        value=json.loads(value) if value is not None else None,
                        headers={name: data.decode() for name, data in message.headers() or []},
                        raw=value or b"",
                    )
                )
        return found
    finally:
        consumer.close()
