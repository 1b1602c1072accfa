"""What MongoDB still knows of the past, and whether a point lies in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bson import Timestamp

from millrace_cdc.errors import HistoryLost, Misconfigured, Unavailable
from millrace_cdc.mongo import Client, RawReader, cluster_now, translated
from millrace_cdc.oplog import read_reach
from millrace_cdc.replay import keystrings
from millrace_cdc.replay.keystrings import instant
from millrace_cdc.replay.points import Point, Time
from millrace_cdc.replies import decode

_AWAIT_MS = 200
_BATCH = 1000
_LOOK_SECONDS = 60.0


@dataclass(frozen=True)
class Place:
    """A point that exists. ``token`` is set where it is that of a change; ``at`` is its cluster time."""

    at: Time
    token: str | None
    words: str


@dataclass(frozen=True)
class Reach:
    """Cluster times of the newest change and, in seconds, of the oldest that the oplog holds; None where the server does not say.

    ``complete``: the oldest is the replica set's first, so that no change has been lost.
    """

    newest: Time
    oldest: int | None
    complete: bool = False

    def words(self) -> str:
        """For a person."""
        if self.oldest is None:
            return f"the oplog ends at {instant(self.newest[0])}; this server does not say where it begins"
        hours = (self.newest[0] - self.oldest) / 3600
        first = ", the replica set's first change: none was ever lost" if self.complete else ""
        return f"the oplog reaches back {hours:,.1f} hours, to {instant(self.oldest)}{first}"


class History:
    """The change stream's past of one collection."""

    def __init__(self, client: Client, database: str, collection: str, bookmark: Callable[[str], str]) -> None:
        """``bookmark`` gives a bookmark's token, and raises Misconfigured where there is none."""
        self._client, self._database, self._collection, self._bookmark = client, database, collection, bookmark

    @property
    def namespace(self) -> str:
        """``<database>.<collection>``."""
        return f"{self._database}.{self._collection}"

    def reach(self) -> Reach:
        """How far it goes."""
        newest = cluster_now(self._client, self._database, self._collection)
        oplog = read_reach(self._client, self._database, self._collection)
        return Reach(newest, oplog.oldest, oplog.complete) if oplog else Reach(newest, None)

    def find(self, option: str, point: Point, reach: Reach) -> Place:
        """The place of a point, checked against the server.

        Raises:
            HistoryLost: the oplog no longer reaches back to it.
            Misconfigured: it lies in the future, or is of another cluster or collection; the message names the option.
        """
        if point.kind == "now":
            return Place(reach.newest, None, f"now, {instant(reach.newest[0])}")
        if point.kind == "oldest":
            # A minute of margin where the oplog turns over: the oldest entry may be gone before the stream is open.
            margin = 0 if reach.complete else 60
            at = (reach.oldest + margin if reach.oldest is not None else 1, 0)
            return Place(min(at, reach.newest), None, f"the beginning of the oplog, {instant(at[0])}")
        token = self._bookmark(point.name) if point.kind == "bookmark" else point.token
        name = f"bookmark {point.name}, " if point.kind == "bookmark" else ""
        at = _time(token) if token else point.at
        self._within(option, at, reach)
        if reach.oldest is not None and at[0] < reach.oldest:
            return self._beginning(option, name, token, at, reach.oldest)
        decoded = keystrings.decode(token) if token else None
        if decoded is None or not decoded.is_event:
            return Place(at, token or None, f"{name}{instant(at[0])} (cluster time {at[0]}.{at[1]})")
        self._is_ours(option, token, at)
        return Place(at, token, f"{name}{decoded.words(self.namespace)}")

    def token_at(self, at: Time) -> str:
        """The token that stands for a cluster time; MongoDB makes it, so that it is of the server's own version."""
        pipeline = [{"$changeStream": {"startAtOperationTime": Timestamp(*at)}}]
        with translated(self._collection):
            database = self._client[self._database]
            reply = database.command({"aggregate": self._collection, "pipeline": pipeline, "cursor": {"batchSize": 0}})
            cursor: Mapping[str, Any] = reply["cursor"]
            database.command({"killCursors": self._collection, "cursors": [cursor["id"]]})
        return str(cursor["postBatchResumeToken"]["_data"])

    def _within(self, option: str, at: Time, reach: Reach) -> None:
        if at > reach.newest:
            ahead = at[0] - reach.newest[0]
            raise Misconfigured(
                f"{option}: {instant(at[0])} lies {ahead:,} s in the future of this cluster, whose newest change is of "
                f"{instant(reach.newest[0])}; is it of another cluster?"
            )
        if reach.oldest is not None and at[0] < reach.oldest and not reach.complete:
            raise HistoryLost(
                f"{option}: the oplog no longer reaches back to {instant(at[0])}, {(reach.oldest - at[0]) / 3600:,.1f} hours before its "
                f"beginning ({instant(reach.oldest)}); `millrace relay snapshot` sends the documents as they are now"
            )

    def _beginning(self, option: str, name: str, token: str, at: Time, oldest: int) -> Place:
        """Where a point stands that is older than the replica set's first change: at the first, since nothing is missing before it."""
        if token:
            raise Misconfigured(
                f"{option}: {name}{instant(at[0])} lies before the replica set's first change ({instant(oldest)}): the token is of another "
                "cluster; write oldest for everything since the first"
            )
        words = f"the beginning of the oplog, {instant(oldest)}, the replica set's first change ({instant(at[0])} was asked for)"
        return Place((oldest, 0), None, words)

    def _is_ours(self, option: str, token: str, at: Time) -> None:
        """Look for the very change: MongoDB itself notices a foreign token only once a later change comes."""
        pipeline = [{"$changeStream": {"startAtOperationTime": Timestamp(*at)}}, {"$project": {"_id": 1}}]
        reader = RawReader(self._client, self._database, self._collection)
        deadline = time.monotonic() + _LOOK_SECONDS
        try:
            reader.open({"aggregate": self._collection, "pipeline": pipeline, "cursor": {"batchSize": 0}})
            while time.monotonic() < deadline:
                reply = decode(reader.more(_BATCH, _AWAIT_MS))
                tokens = [change["_id"]["_data"] for change in reply.documents]
                if token in tokens:
                    return
                # Behind an empty reply everything up to its own token is known.
                if tokens[-1] > token if tokens else _time(reply.token) >= at:
                    raise Misconfigured(
                        f"{option}: MongoDB has no change with this token in {self.namespace}, though its oplog reaches back to "
                        f"{instant(at[0])}: the token is of another cluster or collection"
                    )
        finally:
            reader.close()
        raise Unavailable(f"{option}: MongoDB did not come to {instant(at[0])} within {_LOOK_SECONDS:.0f} s; try again")


def _time(token: str) -> Time:
    decoded = keystrings.decode(token)
    return decoded.seconds, decoded.ordinal
