"""A change over 16 MB on a server that can split it (MongoDB 6.0.27): it is sent whole where Kafka takes it, else a dead letter (I4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from pymongo import MongoClient

from millrace_cdc.topics_cli import topics
from millrace_mongo_init.cli import mongo_init
from tests.integration.cdc.capture import RelayProcess, Topic, millrace, payment
from tests.integration.cdc.test_relay_oversize import Payments, ids, with_changes
from tests.integration.collection.processes import OwnMongod
from tests.support.newer_mongo import newer_mongod

pytestmark = pytest.mark.stack
Settings = dict[str, str]
MakeRelay = Callable[..., RelayProcess]
LARGE = 32 * 1024 * 1024


class SplittingMongod(OwnMongod):
    """A mongod that can split changes."""

    def __init__(self, shared_uri: str, folder: Path) -> None:
        super().__init__(shared_uri, folder)
        self._program = str(newer_mongod())


@pytest.fixture
def environ(mongo_server: Settings, kafka_server: Settings, names: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings of the test, on a server of its own."""
    with SplittingMongod(mongo_server["MILLRACE_MONGO_ADMIN_URI"], tmp_path / "mongod") as server:
        settings = {**kafka_server, **names, **{name: value for name, value in server.environ.items() if "MONGO" in name}}
        for command in (mongo_init, topics):
            result = CliRunner().invoke(command, ["apply"], obj=settings)
            assert result.exit_code == 0, result.output
        yield settings


@pytest.fixture
def payments(environ: Settings) -> Iterator[Payments]:
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        yield client[environ["MILLRACE_NAMES_DATABASE"]]["payments"]


def widen(environ: Settings, topic: Topic) -> None:
    """Let a topic take messages of 32 MiB."""
    entry = ConfigEntry("max.message.bytes", str(LARGE), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": environ["MILLRACE_KAFKA_BOOTSTRAP"]})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


SMALL = ["p000002", "p000003", "p000004", "p000005", "p000006", "p000007", "p000100", "p000101", "p000102", "p000103"]


def test_a_split_change_arrives_whole_where_kafka_takes_it(
    environ: Settings, payments: Payments, relay: MakeRelay, read: Callable[[str], Topic]
) -> None:
    topic = read("payments")
    widen(environ, topic)
    with_changes(payments, relay)
    with relay():
        events = topic.wait_events(12)
    assert ids(events) == sorted([*SMALL, "p000001", "p000001"])
    created, updated = [event for event in events if event["after"]["_id"] == "p000001"]
    assert (created["op"], updated["op"]) == ("c", "u")
    assert updated["before"] == created["after"]
    assert (updated["before"]["status"], updated["after"]["status"]) == ("succeeded", "failed")
    assert len(updated["after"]["merchantId"]) == 9_000_000
    # Complaint 2 (dbz#2619): the token of a split change was refused when the connector started again.
    split, again_topic = updated["source"]["token"], f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}-again"
    again = millrace(environ, "replay", "--from", split, "--topic", again_topic, "--json")
    assert again.returncode == 0, again.stderr
    repeated = Topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], again_topic)
    assert ids(repeated.wait_events(2 + 5)) == sorted(["p000102", "p000103", *SMALL[1:6]])
    repeated.close()


def test_a_split_change_that_kafka_does_not_take_is_a_dead_letter_and_nothing_stops(
    environ: Settings, payments: Payments, relay: MakeRelay, read: Callable[[str], Topic]
) -> None:
    topic = read("payments")
    with_changes(payments, relay)
    with relay() as running:
        events = topic.wait_events(10)
        assert running.process.poll() is None
    assert ids(events) == SMALL
    letters = read("dead-letters").wait_events(2)
    assert [letter["reason"][:16] for letter in letters] == ["the message has "] * 2
    # It goes on behind the split change, and repeats nothing (complaint 15: a checkpoint within a split change never advanced).
    payments.insert_one(payment(200))
    with relay():
        assert ids(topic.wait_events(11)) == [*SMALL[:6], *SMALL[6:], "p000200"]
