"""Fixtures of the collection tier's integration tests: a declared database on the shared server, and a mongod of our own to kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pymongo import MongoClient

from millrace_mongo_init.cli import mongo_init
from tests.integration.collection.processes import CollectionProcess, OwnMongod

Settings = dict[str, str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def declare(environ: Settings) -> None:
    result = CliRunner().invoke(mongo_init, ["apply"], obj=environ)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def declared(mongo_server: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A database of this module's own, declared by mongo-init."""
    database = "it_" + request.module.__name__.rsplit(".", 1)[-1].removeprefix("test_")
    environ = {**mongo_server, "MILLRACE_NAMES_DATABASE": database, "MILLRACE_COLLECTION_CUSTOMER_SECRET": "00" * 16}
    with MongoClient(environ["MILLRACE_MONGO_ADMIN_URI"]) as admin:
        admin.drop_database(database)
        declare(environ)
        yield environ
        admin.drop_database(database)
        for role in admin.admin.command("rolesInfo", 1)["roles"]:
            if role["role"].endswith(f"_{database}"):
                admin.admin.command("dropRole", role["role"])


@pytest.fixture
def api(declared: Settings, tmp_path: Path) -> Iterator[CollectionProcess]:
    """The real command serving on a free port."""
    with CollectionProcess(declared, tmp_path) as process:
        yield process


@pytest.fixture
def own_mongod(mongo_server: Settings, tmp_path: Path) -> Iterator[OwnMongod]:
    """A replica set of one that a test may kill, of the same program as the shared one."""
    with OwnMongod(mongo_server["MILLRACE_MONGO_ADMIN_URI"], tmp_path / "mongod") as server:
        declare(server.environ)
        yield server
