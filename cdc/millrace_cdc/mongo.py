"""MongoDB as the relay talks to it: raw commands on one session, and its errors in the relay's words."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import ConfigurationError, ConnectionFailure, ExecutionTimeout, OperationFailure

from millrace_cdc.bson_walk import cursor_of
from millrace_cdc.errors import HistoryLost, Misconfigured, Oversize, RelayError, SourceLost
from millrace_cdc.fragments import can_split
from millrace_contracts.values import bson_json


class SnapshotTooOld(Exception):
    """MongoDB no longer knows the past that was asked for."""


Client = MongoClient[dict[str, Any]]
HISTORY_LOST = frozenset([286, 280])
GARBAGE_TOKEN = frozenset([9, 15, 50811, 40649, 40647, 40648])
UNAUTHORIZED = frozenset([13, 18])
TRANSIENT = frozenset(
    [43, 6, 7, 89, 91, 134, 136, 175, 189, 202, 234, 237, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436, 63, 150, 133]
)
"""Server errors after which a change stream goes on when it is opened again (CursorNotFound, elections, shutdowns, routing)."""
OVERSIZE = 10334
_TOKEN = re.compile(r'_data: "([0-9A-F]+)"')
SNAPSHOT_TOO_OLD = frozenset([239, 246])


def connect(uri: str) -> Client:
    """A client that gives up soon: the relay retries by itself and shows that it waits."""
    try:
        return MongoClient(uri, serverSelectionTimeoutMS=5000, socketTimeoutMS=30_000, connectTimeoutMS=5000, appname="millrace-relay")
    except (ConfigurationError, ValueError) as error:
        raise Misconfigured(f"MILLRACE_MONGO_RELAY_URI: {error}") from None


class RawReader:
    """Runs cursor commands of one collection and hands out raw replies; one session, so that each stays cheap."""

    def __init__(self, client: Client, database: str, collection: str) -> None:
        self.collection = collection
        self._database = client[database]
        self._session: ClientSession = client.start_session(causal_consistency=False)
        self._cursor_id = 0
        self.token = ""
        """Post-batch resume token of the last reply; empty for a find."""

    def open(self, command: dict[str, Any]) -> bytes:
        """Run aggregate or find, in place of the cursor before; its raw reply."""
        self._kill()
        return self._run(command)

    def more(self, batch_size: int, max_time_ms: int | None = None) -> bytes:
        """The next raw reply of the cursor; ``max_time_ms`` is how long an idle stream waits."""
        command: dict[str, Any] = {"getMore": self._cursor_id, "collection": self.collection, "batchSize": batch_size}
        if max_time_ms is not None:
            command["maxTimeMS"] = max_time_ms
        return self._run(command)

    @property
    def exhausted(self) -> bool:
        """Whether the server has closed the cursor."""
        return self._cursor_id == 0

    def _run(self, command: dict[str, Any]) -> bytes:
        with translated(self.collection):
            reply: RawBSONDocument = self._database.command(command, codec_options=bson_json.RAW, session=self._session)
        raw = bytes(reply.raw)
        self._cursor_id, self.token = cursor_of(raw)
        return raw

    def close(self) -> None:
        """Close the cursor on the server, if it still answers."""
        self._kill()
        with suppress(ConnectionFailure, OperationFailure):
            self._session.end_session()

    def _kill(self) -> None:
        if self._cursor_id:
            with suppress(ConnectionFailure, OperationFailure):
                self._database.command({"killCursors": self.collection, "cursors": [self._cursor_id]}, session=self._session)


@contextmanager
def translated(collection: str) -> Iterator[None]:
    """MongoDB's errors as the relay's."""
    try:
        yield
    except OperationFailure as error:
        raise _translate(collection, error) from error
    except ConnectionFailure as error:
        raise SourceLost(str(error)) from error


def _translate(collection: str, error: OperationFailure) -> Exception:
    code, text = error.code or 0, str(error.details.get("errmsg", error) if error.details else error)
    if code in HISTORY_LOST:
        return HistoryLost(f"the oplog no longer reaches back to the saved position of {collection}: {text}")
    if code in SNAPSHOT_TOO_OLD:
        return SnapshotTooOld(text)
    if code == OVERSIZE:
        found = _TOKEN.search(text)
        return Oversize(
            f"a change of {collection} is larger than 16 MB as the server would send it: {text}", found.group(1) if found else None
        )
    if code in UNAUTHORIZED:
        return Misconfigured(f"MongoDB refuses the relay's user: {text}; see MILLRACE_MONGO_RELAY_URI and run `millrace mongo-init apply`")
    if code in GARBAGE_TOKEN:
        return RelayError(f"MongoDB does not take the saved position of {collection}: {text} (code {code})")
    if code in TRANSIENT or isinstance(error, ExecutionTimeout) or error.has_error_label("ResumableChangeStreamError"):
        return SourceLost(f"{text} (code {code})")
    return RelayError(f"MongoDB refuses to read {collection}: {text} (code {code})")


def splits(client: Client) -> bool:
    """Whether the server can split a change over 16 MB."""
    with translated("the server"):
        return can_split(client.server_info()["versionArray"])


def cluster_now(client: Client, database: str, collection: str) -> tuple[int, int]:
    """The newest cluster time that the relay's user can see: the snapshot time of an empty read."""
    with translated(collection):
        command = {"find": collection, "limit": 0, "filter": {"_id": None}, "readConcern": {"level": "snapshot"}}
        reply = client[database].command(command)
    at = reply["cursor"]["atClusterTime"]
    return at.time, at.inc


def now_ms() -> int:
    """Wall-clock epoch milliseconds."""
    return time.time_ns() // 1_000_000
