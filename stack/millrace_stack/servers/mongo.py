"""MongoDB: a replica set of one (change streams need an oplog) with authentication on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from millrace_stack.errors import PrerequisiteMissing, StackError
from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import Probe
from millrace_stack.servers.base import Context, Server

REPLICA_SET = "rs0"
ROLES = ("admin", "collection", "relay", "debezium", "truth")
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13


def variable(role: str) -> str:
    """Name of the setting that holds a role's URI."""
    return f"MILLRACE_MONGO_{role.upper()}_URI"


class Mongo(Server):
    """mongod."""

    name = "mongo"
    ports = ("mongo",)
    sets = ("mongo",)

    def spec(self, context: Context) -> ProcessSpec:
        """mongod with a key file, which turns authentication on."""
        data = context.home.data(self.name)
        key_file = data / "keyfile"
        if not key_file.exists():
            key_file.touch(0o600)
            key_file.write_text(secrets.token_hex(48))
        storage = context.home.folder("data", self.name, "db")
        port = context.ports["mongo"]
        command = [
            str(context.artefacts["mongo"]),
            *("--replSet", REPLICA_SET, "--keyFile", str(key_file), "--auth"),
            *("--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"),
            *("--dbpath", str(storage), "--oplogSize", str(context.settings.mongo_oplog_mb)),
            *("--wiredTigerCacheSizeGB", f"{context.settings.mongo_cache_mb / 1024:.3f}"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # An idle server tells how far its time has come by writing a no-op; ten seconds apart by default (I13).
            *("--setParameter", "periodicNoopIntervalSecs=1"),
        ]
        return self.process(context, command, 30.0, ready=lambda: _pings(port))

    def prepare(self, context: Context) -> None:
        """Found the replica set and its administrator; after a change of port, move the replica set to the new address."""
        port, uri = context.ports["mongo"], context.secrets[variable("admin")]
        try:
            self._prepare(port, uri)
        except PyMongoError as error:
            raise StackError(f"mongo could not be set up ({error}); see `millrace stack logs mongo`") from None

    @staticmethod
    def _prepare(port: int, uri: str) -> None:
        if not _has_administrator(uri, port):
            with _client(port) as client:
                _initiate(client, port)
            with _client(port) as client:
                _wait_primary(client)
                _create_administrator(client, uri)
        with _client(port, uri) as client:
            _keep_address(client, port)

    def healthy(self, context: Context) -> Probe:
        """Whether it takes writes from the administrator."""
        port, uri = context.ports["mongo"], context.secrets[variable("admin")]

        def probe() -> bool:
            with _client(port, uri) as client:
                return bool(client.admin.command("hello")["isWritablePrimary"])

        return probe

    def new_secrets(self, ports: Mapping[str, int], known: Mapping[str, str]) -> dict[str, str]:
        """A URI with a password for each role; a new port goes into the URIs that are there."""
        return {variable(role): _uri(role, ports["mongo"], known.get(variable(role))) for role in ROLES}


def _uri(role: str, port: int, known: str | None) -> str:
    password = known.split("@")[0].rsplit(":", 1)[1] if known else secrets.token_urlsafe(24)
    return f"mongodb://millrace_{role}:{password}@127.0.0.1:{port}/?authSource=admin&replicaSet={REPLICA_SET}"


def _client(port: int, uri: str | None = None) -> MongoClient[dict[str, Any]]:
    """A direct connection, with the login of a URI: before the replica set is founded its name would not be accepted."""
    login: dict[str, Any] = dict(zip(("username", "password"), _login(uri), strict=True)) if uri else {}
    return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=3000, connectTimeoutMS=3000, **login)


def _login(uri: str) -> tuple[str, str]:
    user, password = uri.removeprefix("mongodb://").split("@")[0].split(":")
    return user, password


def _pings(port: int) -> bool:
    with _client(port) as client:
        return bool(client.admin.command("ping")["ok"])


def _has_administrator(uri: str, port: int) -> bool:
    try:
        with _client(port, uri) as client:
            client.admin.command("ping")
            return True
    except OperationFailure as error:
        if error.code != _AUTHENTICATION_FAILED:
            raise
    return False


def _initiate(client: MongoClient[dict[str, Any]], port: int) -> None:
    if "setName" not in client.admin.command("hello"):
        members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})


def _wait_primary(client: MongoClient[dict[str, Any]]) -> None:
    """The server itself waits (hello with a topology version answers when the topology changes), up to 10 s each time."""
    for _ in range(6):
        state = client.admin.command("hello")
        if state["isWritablePrimary"]:
            return
        client.admin.command("hello", topologyVersion=state["topologyVersion"], maxAwaitTimeMS=10_000)
    raise StackError("mongo: the replica set has no primary after a minute; see `millrace stack logs mongo`")


def _create_administrator(client: MongoClient[dict[str, Any]], uri: str) -> None:
    """Use the localhost exception: without a login, the first user may be made, and only that one."""
    user, password = _login(uri)
    try:
        client.admin.command("createUser", user, pwd=password, roles=["root"])
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        problem = "the data holds an administrator with another password than secrets.json"
        raise PrerequisiteMissing(f"mongo: {problem}; `millrace stack wipe` starts afresh") from None


def _keep_address(client: MongoClient[dict[str, Any]], port: int) -> None:
    config = client.admin.command("replSetGetConfig")["config"]
    address = f"127.0.0.1:{port}"
    if config["members"][0]["host"] != address:
        config["members"][0]["host"] = address
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)
    _wait_primary(client)
