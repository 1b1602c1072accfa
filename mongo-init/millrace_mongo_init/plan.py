"""The difference between the declarations and the server, as changes; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from millrace_mongo_init.declarations import Collection, Declarations, Index, Privilege, role_name
from millrace_mongo_init.server import Document, Server
from millrace_mongo_init.settings import Login

Sign = Literal["+", "~", "!"]


@dataclass(frozen=True)
class Command:
    """A database command. Its document may hold a password: it is never shown."""

    database: str
    document: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Change:
    """One difference: ``+`` is missing, ``~`` differs, ``!`` differs and needs a rebuild that only a person asks for."""

    sign: Sign
    kind: str
    name: str
    detail: str
    commands: tuple[Command, ...] = field(default=(), repr=False)

    def line(self) -> str:
        """The change as a line for a person."""
        return f"{self.sign} {self.kind} {self.name}" + (f": {self.detail}" if self.detail else "")


def plan(declared: Declarations, server: Server, database: str, logins: Sequence[Login]) -> list[Change]:
    """Every change in the order in which it must be made; empty when the server is as declared."""
    return [
        *(change for item in declared.collections for change in _collection(item, server, database)),
        *(change for role, privileges in declared.roles.items() for change in _role(role, privileges, server, database)),
        *(change for login in logins for change in _user(login, server, database)),
    ]


def notes(declared: Declarations, server: Server, database: str, logins: Sequence[Login]) -> list[str]:
    """What is there and not declared; it is left alone."""
    found: list[str] = []
    for item in declared.collections:
        known = {"_id_", *(index.name for index in item.indexes)}
        for index in server.indexes.get(item.collection, ()):
            if index["name"] not in known and dict(index["key"]) != (item.shard_key or {}):
                found.append(f"index {item.collection}.{index['name']} is not declared and left alone")
    for login in logins:
        for role in server.users.get(login.user, {}).get("roles", ()):
            if not role["role"].startswith(f"millrace_{login.role}_"):
                found.append(f"user {login.user} also holds the role {role['role']} of {role['db']}, which is not declared")
    return found


def _collection(item: Collection, server: Server, database: str) -> Iterator[Change]:
    name = f"{database}.{item.collection}"
    images = {"changeStreamPreAndPostImages": {"enabled": True}} if item.images else {}
    validation = {"validator": item.validator, "validationLevel": "strict", "validationAction": "error"} if item.validator else {}
    options = server.collections.get(item.collection)
    if options is None:
        parts = [text for text, there in (("validator", item.validator), ("pre- and post-images", item.images)) if there]
        command = Command(database, {"create": item.collection, **validation, **images})
        yield Change("+", "collection", name, " and ".join(parts), (command,))
    else:
        wrong = {key: value for key, value in validation.items() if options.get(key, _DEFAULTS.get(key)) != value}
        if wrong:
            yield Change("~", "validator", name, "differs", (Command(database, {"collMod": item.collection, **validation}),))
        if images and not options.get("changeStreamPreAndPostImages", {}).get("enabled"):
            yield Change("~", "images", name, "turn pre- and post-images on", (Command(database, {"collMod": item.collection, **images}),))
    if server.sharded and item.shard_key:
        yield from _shard_key(item, server, name)
    for index in item.indexes:
        yield from _index(item, index, server, database)


_DEFAULTS = {"validationLevel": "strict", "validationAction": "error"}


def _shard_key(item: Collection, server: Server, name: str) -> Iterator[Change]:
    present = server.shard_keys.get(item.collection)
    if present is None:
        command = Command("admin", {"shardCollection": name, "key": dict(item.shard_key or {})})
        yield Change("+", "shard key", name, str(item.shard_key), (command,))
    elif list(present.items()) != list((item.shard_key or {}).items()):
        yield Change("!", "shard key", name, f"is {dict(present)}, declared {item.shard_key}; reshard the collection by hand")


def _index(item: Collection, index: Index, server: Server, database: str) -> Iterator[Change]:
    spec = index.spec(item.shard_key if server.sharded else None)
    name = f"{database}.{item.collection}.{index.name}"
    there = {entry["name"]: entry for entry in server.indexes.get(item.collection, ())}
    create = Command(database, {"createIndexes": item.collection, "indexes": [spec]})
    present = there.get(index.name)
    if present is None:
        same_keys = [other for other in there.values() if list(other["key"].items()) == list(spec["key"].items())]
        if not same_keys:
            yield Change("+", "index", name, _words(spec), (create,))
            return
        present = same_keys[0]
    if _essence(present) == _essence(spec) and present["name"] == index.name:
        return
    ttl = {key: value for key, value in _essence(present).items() if key != "expireAfterSeconds"}
    wanted = {key: value for key, value in _essence(spec).items() if key != "expireAfterSeconds"}
    if present["name"] == index.name and ttl == wanted and "expireAfterSeconds" in present and "expireAfterSeconds" in spec:
        setting = {"name": index.name, "expireAfterSeconds": spec["expireAfterSeconds"]}
        detail = f"expires after {present['expireAfterSeconds']} s, declared {spec['expireAfterSeconds']} s"
        yield Change("~", "index", name, detail, (Command(database, {"collMod": item.collection, "index": setting}),))
        return
    drop = Command(database, {"dropIndexes": item.collection, "index": present["name"]})
    detail = f"is {_words(present)} named {present['name']}, declared {_words(spec)}; needs a rebuild: apply --rebuild-indexes"
    yield Change("!", "index", name, detail, (drop, create))


def _essence(index: Document) -> dict[str, Any]:
    """What makes two indexes the same; the order of keys counts."""
    kept = {key: index[key] for key in ("unique", "expireAfterSeconds", "partialFilterExpression", "sparse", "collation") if index.get(key)}
    return {"key": list(dict(index["key"]).items()), **kept}


def _words(index: Document) -> str:
    keys = ", ".join(f"{name} {direction}" for name, direction in index["key"].items())
    unique = " unique" if index.get("unique") else ""
    expiry = f" expiring after {index['expireAfterSeconds']} s" if "expireAfterSeconds" in index else ""
    return f"({keys}){unique}{expiry}"


def _role(role: str, privileges: list[Privilege], server: Server, database: str) -> Iterator[Change]:
    name = role_name(role, database)
    wanted = [privilege.spec(database) for privilege in privileges]
    present = server.roles.get(name)
    if present is None:
        command = Command("admin", {"createRole": name, "privileges": wanted, "roles": []})
        yield Change("+", "role", name, f"{len(wanted)} privileges", (command,))
    elif _comparable(present["privileges"]) != _comparable(wanted) or present["roles"]:
        command = Command("admin", {"updateRole": name, "privileges": wanted, "roles": []})
        yield Change("~", "role", name, "its privileges differ", (command,))


def _comparable(privileges: Sequence[Document]) -> list[tuple[list[tuple[str, object]], list[str]]]:
    return sorted((sorted(entry["resource"].items()), sorted(entry["actions"])) for entry in privileges)


def _user(login: Login, server: Server, database: str) -> Iterator[Change]:
    role = {"role": role_name(login.role, database), "db": "admin"}
    present = server.users.get(login.user)
    if present is None:
        command = Command(login.database, {"createUser": login.user, "pwd": login.password, "roles": [role]})
        yield Change("+", "user", login.user, f"with the role {role['role']}", (command,))
        return
    if role not in [{"role": held["role"], "db": held["db"]} for held in present["roles"]]:
        command = Command(login.database, {"grantRolesToUser": login.user, "roles": [role]})
        yield Change("~", "user", login.user, f"grant the role {role['role']}", (command,))
    if login.user not in server.passwords:
        command = Command(login.database, {"updateUser": login.user, "pwd": login.password})
        yield Change("~", "user", login.user, "its password is not the one of its URI", (command,))
