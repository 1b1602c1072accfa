"""How far MongoDB's history reaches back, and how long a relay may be down before it is lost."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, replace
from types import TracebackType

from bson import Timestamp
from pymongo.errors import OperationFailure, PyMongoError

from millrace_cdc.mongo import OVERSIZE, Client
from millrace_cdc.state import RelayState
from millrace_runtime.stopping import StopSignal

MAX_TIME_EXPIRED = 50
SEARCH_MS = 2_000
EVERY_SECONDS = 10.0
FIRST_SECONDS = 0.5
"""Until there is a position: the runway is known soon after the first commit."""


@dataclass(frozen=True)
class Oplog:
    """Epoch seconds of the oldest and newest entry; ``writes`` is how many documents the server has written since it started.

    ``complete``: the oldest entry is the replica set's first, so that nothing has been lost and the time before it held no change.
    """

    oldest: int
    newest: int
    writes: int = 0
    complete: bool = False

    def runway_seconds(self, position_seconds: int) -> int:
        """How long a relay at this position may be down, as the oplog turns over now: until the oldest entry passes it.

        The least that is known, where the oplog is ``complete`` and has not begun to turn over.
        """
        return max(0, position_seconds - self.oldest)


def read_oplog(client: Client) -> Oplog | None:
    """The oplog's reach, or None where the server does not say (mongos, missing privilege)."""
    try:
        told = client.admin.command({"serverStatus": 1, "oplog": 1})
    except PyMongoError:
        return None
    oldest, newest = (told.get("oplog", {}).get(name) for name in ("earliestOptime", "latestOptime"))
    writes = sum(told.get("opcounters", {}).get(name, 0) for name in ("insert", "update", "delete"))
    return Oplog(oldest.time, newest.time, writes) if oldest and newest else None


def is_complete(client: Client, database: str, collection: str) -> bool:
    """Whether nothing has ever fallen off the oplog: its oldest entry is still the replica set's first. False where that is not known.

    A change stream from the beginning of time is refused at once, unless the oplog begins with the entry that initiated the set
    (MongoDB's ``CollectionScan``, "If the first entry we see in the oplog is the replset initialization"). To ask this way wants no
    privilege on the oplog, and mongos asks every shard. The limit of time ends a long search for the first change of the collection.
    """
    pipeline = [{"$changeStream": {"startAtOperationTime": Timestamp(1, 1)}}, {"$project": {"_id": 1}}]
    command = {"aggregate": collection, "pipeline": pipeline, "cursor": {"batchSize": 1}, "maxTimeMS": SEARCH_MS}
    try:
        reply = client[database].command(command)
        client[database].command({"killCursors": collection, "cursors": [reply["cursor"]["id"]]})
    except OperationFailure as error:
        return error.code in (MAX_TIME_EXPIRED, OVERSIZE)
    except PyMongoError:
        return False
    return True


def read_reach(client: Client, database: str, collection: str) -> Oplog | None:
    """The oplog's reach with ``complete``, or None where the server does not say."""
    found = read_oplog(client)
    return replace(found, complete=is_complete(client, database, collection)) if found else None


class EventsWaiting:
    """Estimates how many events lie between a position and the newest change, from what the server counts anyway.

    The server's count of written documents, sampled with its time, says how many writes of all collections lie before the position and how
    many behind it; how many events the stream has made of such a write until now says how many of them concern it.
    """

    def __init__(self, keep: int = 1000) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=keep)
        self._last: tuple[float, float] | None = None
        self._writes = self._events = 0.0

    def sample(self, seconds: int, writes: int) -> None:
        """Take the server's count at a cluster time; after a restart of the server it begins again."""
        if self._samples and writes < self._samples[-1][1]:
            self._samples.clear()
            self._last = None
        self._samples.append((seconds, writes))

    def estimate(self, position_seconds: int, events: float) -> float | None:
        """Events that wait behind a position, after so many were committed; None while too little is known."""
        if len(self._samples) < 2:
            return None
        before = self._writes_at(position_seconds)
        if self._last is not None:
            # Half of what was learnt is forgotten at every step, so that a change of the load is followed.
            self._writes = self._writes / 2 + max(0.0, before - self._last[0])
            self._events = self._events / 2 + max(0.0, events - self._last[1])
        self._last = (before, events)
        waiting = max(0.0, self._samples[-1][1] - before)
        return waiting * (min(1.0, self._events / self._writes) if self._writes else 1.0)

    def _writes_at(self, seconds: int) -> float:
        """The count at a time, between two samples by the rule of three, before the first by the rate since then."""
        times = [time for time, _ in self._samples]
        right = min(max(bisect_left(times, seconds), 1), len(times) - 1)
        (left_time, left), (right_time, writes) = self._samples[right - 1], self._samples[right]
        rate = (writes - left) / max(1, right_time - left_time)
        return min(left + rate * (seconds - left_time), float(self._samples[-1][1]))


class OplogWatch:
    """Keeps the runway metric and the estimate of events that wait; a thread of its own, so that the stream never waits for it."""

    def __init__(self, client: Client, database: str, collection: str, state: RelayState, stop: StopSignal) -> None:
        self._client = client
        self._database = database
        self._collection = collection
        self._first: int | None = None
        """The oldest entry's time when it was asked whether the oplog is complete; once it has moved, it never is again."""
        self._complete = False
        self._state = state
        self._stop = stop
        self._done = threading.Event()
        self._waiting = EventsWaiting()
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
                self._state.runway.set(math.inf if self._is_complete(oplog) else oplog.runway_seconds(position))
                self._waiting.sample(oplog.newest, oplog.writes)
                self._state.waiting(self._waiting.estimate(position, self._state.committed_events))
            self._done.wait(EVERY_SECONDS if position is not None else FIRST_SECONDS)

    def _is_complete(self, oplog: Oplog) -> bool:
        if self._first is None:
            self._first, self._complete = oplog.oldest, is_complete(self._client, self._database, self._collection)
        return self._complete and oplog.oldest == self._first
