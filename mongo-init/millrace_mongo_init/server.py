"""What the server holds now, read by its administrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from millrace_mongo_init.settings import Login

Document = dict[str, Any]

AUTHENTICATION_FAILED = 18
SERVER_SELECTION_MS = 10_000


@dataclass(frozen=True)
class Server:
    """The present state. ``sharded`` is whether a mongos answers; ``passwords`` are the users whose URI logs in."""

    sharded: bool = False
    collections: Mapping[str, Document] = field(default_factory=dict)
    """Name -> options (validator, changeStreamPreAndPostImages …)."""
    indexes: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    shard_keys: Mapping[str, Document] = field(default_factory=dict)
    roles: Mapping[str, Document] = field(default_factory=dict)
    users: Mapping[str, Document] = field(default_factory=dict)
    """User -> what usersInfo says of it."""
    passwords: frozenset[str] = frozenset()


def read(client: MongoClient[Document], database: str, logins: Sequence[Login]) -> Server:
    """Read everything that the declarations speak of.

    Raises:
        pymongo.errors.PyMongoError: the server does not answer or refuses the administrator.
    """
    sharded = client.admin.command("hello").get("msg") == "isdbgrid"
    source = client[database]
    collections = {entry["name"]: entry.get("options", {}) for entry in source.list_collections() if entry["type"] == "collection"}
    users = _users(client, logins)
    return Server(
        sharded=sharded,
        collections=collections,
        indexes={name: [dict(index) for index in source[name].list_indexes()] for name in collections},
        shard_keys=_shard_keys(client, database) if sharded else {},
        roles={role["role"]: role for role in client.admin.command("rolesInfo", 1, showPrivileges=True)["roles"]},
        users=users,
        passwords=frozenset(login.user for login in logins if login.user in users and _logs_in(login)),
    )


def _users(client: MongoClient[Document], logins: Sequence[Login]) -> dict[str, Document]:
    users: dict[str, Document] = {}
    for login in logins:
        for user in client[login.database].command("usersInfo", login.user)["users"]:
            users[login.user] = user
    return users


def _logs_in(login: Login) -> bool:
    with MongoClient[Document](login.uri, serverSelectionTimeoutMS=SERVER_SELECTION_MS) as client:
        try:
            client.admin.command("ping")
        except OperationFailure as error:
            if error.code == AUTHENTICATION_FAILED:
                return False
            raise
    return True


def _shard_keys(client: MongoClient[Document], database: str) -> dict[str, Document]:
    prefix = f"{database}."
    rows = client.config.collections.find({"_id": {"$regex": f"^{database}\\."}})
    return {row["_id"].removeprefix(prefix): row["key"] for row in rows if row.get("key") and not row.get("dropped")}
