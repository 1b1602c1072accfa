"""How far MongoDB's history reaches back, and how long a relay may be down before it is lost."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType

from pymongo.errors import PyMongoError

from millrace_cdc.mongo import Client
from millrace_cdc.state import RelayState
from millrace_runtime.stopping import StopSignal

EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Oplog:
    """Epoch seconds of the oldest and newest entry."""

    oldest: int
    newest: int

    def runway_seconds(self, position_seconds: int) -> int:
        """How long a relay at this position may be down, as the oplog turns over now: until the oldest entry passes it."""
        return max(0, position_seconds - self.oldest)


def read_oplog(client: Client) -> Oplog | None:
    """The oplog's reach, or None where the server does not say (mongos, missing privilege)."""
    try:
        found = client.admin.command({"serverStatus": 1, "oplog": 1}).get("oplog", {})
    except PyMongoError:
        return None
    oldest, newest = found.get("earliestOptime"), found.get("latestOptime")
    return Oplog(oldest.time, newest.time) if oldest and newest else None


class OplogWatch:
    """Keeps the runway metric; a thread of its own, so that the stream never waits for it."""

    def __init__(self, client: Client, state: RelayState, stop: StopSignal) -> None:
        self._client = client
        self._state = state
        self._stop = stop
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oplog", daemon=True)

    def __enter__(self) -> OplogWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join(15)

    def _run(self) -> None:
        while not (self._done.is_set() or self._stop.is_set):
            oplog = read_oplog(self._client)
            position = self._state.cluster_seconds
            if oplog is not None and position is not None:
                self._state.runway.set(oplog.runway_seconds(position))
            self._done.wait(EVERY_SECONDS)
