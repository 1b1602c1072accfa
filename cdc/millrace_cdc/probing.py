"""Looks at what a stream has before it without its images, so that a change of any size passes and little crosses the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from millrace_cdc.errors import Unavailable
from millrace_cdc.mongo import Client, RawReader
from millrace_cdc.progress import Position
from millrace_cdc.projection import CONTROLS, Share, stages
from millrace_cdc.replies import decode
from millrace_cdc.stream import AWAIT_MS, change_stream
from millrace_cdc.tokens import position as time_of

_LOOK_SECONDS = 30.0
_BATCH = 10_000


@dataclass(frozen=True)
class Ahead:
    """Tokens of changes that lie before a stream, and the token up to which nothing else does."""

    tokens: list[str]
    through: str


def ahead(client: Client, database: str, collection: str, start: Position, within_seconds: float) -> Iterator[Ahead]:
    """What comes behind a position, reply by reply, for at most so long.

    Raises:
        HistoryLost, SourceLost: MongoDB can not say.
    """
    pipeline = change_stream(start, stages((), Share(start.stream, start.streams), len(start.already)))
    reader = RawReader(client, database, collection)
    deadline = time.monotonic() + within_seconds
    try:
        reader.open({"aggregate": collection, "pipeline": pipeline, "cursor": {"batchSize": 0}})
        while time.monotonic() < deadline:
            reply = decode(reader.more(_BATCH, AWAIT_MS))
            new = (each for each in reply.documents if not start.already or each["operationType"] in CONTROLS or _is_new(each, start))
            yield Ahead([str(each["_id"]["_data"]) for each in new], reply.token)
    finally:
        reader.close()


def _is_new(change: Mapping[str, Any], start: Position) -> bool:
    earlier: int = change["earlier"]
    return str(change["_id"]["_data"]) > start.already[earlier]


def next_change(client: Client, database: str, collection: str, start: Position, until: str) -> str | None:
    """The token of a stream's next change, or None where there is none up to the token ``until``.

    Raises:
        HistoryLost, SourceLost, Unavailable: MongoDB can not say.
    """
    for found in ahead(client, database, collection, start, _LOOK_SECONDS):
        if found.tokens:
            return found.tokens[0]
        if found.through > until:
            return None
    raise Unavailable(f"MongoDB did not come to {until} within {_LOOK_SECONDS:.0f} s; try again")


def count_waiting(client: Client, database: str, collection: str, start: Position, newest: int, within_seconds: float) -> tuple[int, bool]:
    """Changes between a position and the cluster second ``newest``, and whether that is all of them: counting ends when the time is over.

    Raises:
        HistoryLost, SourceLost: MongoDB can not say.
    """
    count = 0
    for found in ahead(client, database, collection, start, within_seconds):
        count += len(found.tokens)
        if time_of(found.through)[0] > newest or (not found.tokens and time_of(found.through)[0] >= newest):
            return count, True
    return count, False
