"""kill -9 in the middle of a drain of 300,000 changes: of the relay, of the broker, of mongod. Every event exactly once, in order (I2, I3).

Complaints 1 (dbz#2549: something that straddles two batches is lost on restart) and 8 (mongo-kafka PR#142: a killed broker leaves
duplicates and another order).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, TopicPartition
from pymongo import MongoClient

from millrace_cdc.topics_cli import topics
from millrace_mongo_init.cli import mongo_init
from millrace_stack.errors import PortTaken
from tests.integration.cdc.capture import RelayProcess, payment
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1500)]
DOCUMENTS, CHANGES = 210_000, 300_000
KILLS_OF_THE_RELAY, KILLS_OF_A_SERVER = 20, 5


@pytest.fixture
def environ(mongo_server: dict[str, str], kafka_server: dict[str, str], names: dict[str, str]) -> Iterator[dict[str, str]]:
    settings = {**mongo_server, **kafka_server, **names}
    for command in (mongo_init, topics):
        result = CliRunner().invoke(command, ["apply"], obj=settings)
        assert result.exit_code == 0, result.output
    yield settings
    with MongoClient(settings["MILLRACE_MONGO_ADMIN_URI"]) as admin:
        admin.drop_database(names["MILLRACE_NAMES_DATABASE"])


def write(environ: dict[str, str]) -> None:
    """210,000 inserts, and 90,000 updates of some of them, each once."""
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        payments = client[environ["MILLRACE_NAMES_DATABASE"]]["payments"]
        for start in range(0, DOCUMENTS, 3000):
            payments.insert_many([payment(number, amount=1) for number in range(start, start + 3000)], ordered=False)
        payments.update_many({"_id": {"$lt": f"p{CHANGES - DOCUMENTS:06d}"}}, {"$inc": {"amount": 1}})


def drained(environ: dict[str, str]) -> dict[str, list[int]]:
    """The amounts of each document in the order of its partition, as a read_committed consumer sees them when nothing more comes."""
    config = {"bootstrap.servers": environ["MILLRACE_KAFKA_BOOTSTRAP"], "group.id": "chaos", "isolation.level": "read_committed"}
    consumer = Consumer({**config, "enable.partition.eof": True, "enable.auto.commit": False})
    name = f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.{environ['MILLRACE_NAMES_DATABASE']}.payments"
    partitions = list(consumer.list_topics(name, timeout=10).topics[name].partitions)
    consumer.assign([TopicPartition(name, partition, 0) for partition in partitions])
    found: dict[str, list[int]] = {}
    ended: set[int | None] = set()
    while len(ended) < len(partitions):
        for message in consumer.consume(10_000, 1.0):
            if message.error():
                ended.add(message.partition())
            elif message.key():
                after = json.loads(message.value() or b"")["after"]
                found.setdefault(after["_id"], []).append(after["amount"])
    consumer.close()
    return found


def committed(environ: dict[str, str]) -> int:
    return sum(len(amounts) for amounts in drained(environ).values())


def check(environ: dict[str, str]) -> None:
    """Every change once and in order."""
    wait_until(lambda: committed(environ) >= CHANGES, 240, f"{CHANGES} events")
    found = drained(environ)
    assert len(found) == DOCUMENTS
    for key, amounts in found.items():
        assert amounts == ([1, 2] if int(key[1:]) < CHANGES - DOCUMENTS else [1])


def restarted(servers: Servers, name: str) -> bool:
    """Start a server again; False while connections of its clients still hold its port."""
    try:
        servers.restart(name)
    except PortTaken:
        return False
    return True


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], RelayProcess]]:
    """Starts a relay whose first start was on the empty collection, so that everything is in its stream."""
    made: list[RelayProcess] = []

    def make() -> RelayProcess:
        # Small transactions, so that the drain is long enough to be killed in.
        settings = {"MILLRACE_RELAY_TRANSACTION_EVENTS": "1000", "MILLRACE_RELAY_FETCH_EVENTS": "500"}
        made.append(RelayProcess({**environ, **settings}, tmp_path).start())
        return made[-1]

    with RelayProcess(environ, tmp_path) as first:
        wait_until(lambda: first.state()["phase"] == "streaming", 60, "the empty snapshot is done")
        assert first.stop() == 0
    write(environ)
    yield make
    for process in made:
        process.__exit__()


def test_twenty_kills_of_the_relay(environ: dict[str, str], start: Callable[[], RelayProcess]) -> None:
    chance = random.Random(7)
    for kill in range(KILLS_OF_THE_RELAY):
        running = start().wait_ready()
        target = chance.randrange(500, CHANGES // KILLS_OF_THE_RELAY)
        wait_until(lambda: running.metric("events_total") >= target or kill > 15, 60, "it drains")  # noqa: B023
        running.kill()
    last = start()
    check(environ)
    assert last.stop() == 0


@pytest.mark.parametrize("server", ["kafka", "mongo"])
def test_five_kills_of_a_server(environ: dict[str, str], servers: Servers, start: Callable[[], RelayProcess], server: str) -> None:
    running = start().wait_ready()
    for kill in range(KILLS_OF_A_SERVER):
        before = running.metric("events_total")
        wait_until(lambda: running.metric("events_total") >= min(before + 20_000, CHANGES), 120, "it drains")  # noqa: B023
        servers.kill(server)
        wait_until(lambda: restarted(servers, server), 60, f"{server} is up again")
        assert running.process.poll() is None, f"kill {kill}: {running.log[-3000:]}"
    check(environ)
    assert running.metric("dead_letters_total") == 0
    assert running.stop() == 0, running.log[-3000:]
