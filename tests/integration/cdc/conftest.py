"""A declared database and declared topics of each test's own on the shared servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pymongo import MongoClient
from pymongo.collection import Collection

from millrace_cdc.topics_cli import topics
from millrace_mongo_init.cli import mongo_init
from tests.integration.cdc.capture import RelayProcess, SmallOplog, Topic

Environ = dict[str, str]


@pytest.fixture
def environ(mongo_server: Environ, kafka_server: Environ, names: Environ) -> Iterator[Environ]:
    """Settings of the test; the relay's user has the relay's role only."""
    settings = {**mongo_server, **kafka_server, **names}
    for command in (mongo_init, topics):
        result = CliRunner().invoke(command, ["apply"], obj=settings)
        assert result.exit_code == 0, result.output
    yield settings
    database = names["MILLRACE_NAMES_DATABASE"]
    with MongoClient(settings["MILLRACE_MONGO_ADMIN_URI"]) as admin:
        admin.drop_database(database)
        for role in admin.admin.command("rolesInfo", 1)["roles"]:
            if role["role"].endswith(f"_{database}"):
                admin.admin.command("dropRole", role["role"])


@pytest.fixture
def payments(environ: Environ) -> Iterator[Collection[dict[str, Any]]]:
    """The payments collection, as the administrator."""
    with MongoClient[dict[str, Any]](environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        yield client[environ["MILLRACE_NAMES_DATABASE"]]["payments"]


@pytest.fixture
def read(environ: Environ) -> Iterator[Callable[[str], Topic]]:
    """Opens a topic by the end of its name, e.g. ``dead-letters``."""
    opened: list[Topic] = []

    def open_topic(name: str) -> Topic:
        prefix = environ["MILLRACE_NAMES_TOPIC_PREFIX"]
        full = f"{prefix}.{environ['MILLRACE_NAMES_DATABASE']}.payments" if name == "payments" else f"{prefix}.{name}"
        opened.append(Topic(environ["MILLRACE_KAFKA_BOOTSTRAP"], full))
        return opened[-1]

    yield open_topic
    for topic in opened:
        topic.close()


@pytest.fixture
def relay(environ: Environ, tmp_path: Path) -> Iterator[Callable[..., RelayProcess]]:
    """Makes relays of the test's own; what still runs at its end is killed."""
    made: list[RelayProcess] = []

    def make(*options: str, **settings: str) -> RelayProcess:
        made.append(RelayProcess({**environ, **settings}, tmp_path, *options))
        return made[-1]

    yield make
    for process in made:
        process.__exit__()


@pytest.fixture
def small(mongo_server: dict[str, str], kafka_server: dict[str, str], names: dict[str, str], tmp_path: Path) -> Iterator[SmallOplog]:
    """A replica set of one with an oplog of a few megabytes."""
    with SmallOplog(mongo_server["MILLRACE_MONGO_ADMIN_URI"], tmp_path / "mongod") as server:
        server.environ |= {**kafka_server, **names} | {name: value for name, value in server.environ.items() if "MONGO" in name}
        for command in (mongo_init, topics):
            result = CliRunner().invoke(command, ["apply"], obj=server.environ)
            assert result.exit_code == 0, result.output
        yield server
