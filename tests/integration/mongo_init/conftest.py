"""A database of the test's own, declared by mongo-init, and the tiers' logins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from pymongo import MongoClient

from millrace_mongo_init.cli import mongo_init

Settings = dict[str, str]


@pytest.fixture
def environ(mongo_server: Settings, names: Settings) -> Settings:
    return {**mongo_server, **names}


@pytest.fixture
def database(environ: Settings) -> str:
    return environ["MILLRACE_NAMES_DATABASE"]


@pytest.fixture
def admin(environ: Settings, database: str) -> Iterator[MongoClient]:
    with MongoClient(environ["MILLRACE_MONGO_ADMIN_URI"]) as client:
        yield client
        client.drop_database(database)
        for role in client.admin.command("rolesInfo", 1)["roles"]:
            if role["role"].endswith(f"_{database}"):
                client.admin.command("dropRole", role["role"])


def run(environ: Settings, *arguments: str) -> tuple[Result, int]:
    result = CliRunner().invoke(mongo_init, arguments, obj=environ, standalone_mode=False)
    assert result.exception is None, result.output
    return result, result.return_value


def as_role(environ: Settings, role: str) -> MongoClient:
    return MongoClient(environ[f"MILLRACE_MONGO_{role.upper()}_URI"])


@pytest.fixture
def applied(environ: Settings, admin: MongoClient) -> Settings:
    assert run(environ, "apply")[1] == 0
    return environ
