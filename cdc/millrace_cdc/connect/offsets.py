"""Source offsets: shown in a person's words, and changed only under guard.

Connect takes a wrong partition without a word and changes nothing (seen with 4.3), and it takes a change only of a STOPPED
connector. So a change is compared with what the connector would use, made, and read back.

Debezium's MongoDB connector keeps ``{"server_id": <topic.prefix>}`` -> ``{"sec", "ord", "resume_token"}``, where the token is the base64
of its BSON document; given by hand, a plain hex token or a time alone serve too.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import bson
from bson.errors import BSONError

from millrace_cdc.connect.errors import RefusedError, WorkerError
from millrace_cdc.connect.models import STOPPED, SourceOffset
from millrace_cdc.connect.session import Session
from millrace_cdc.tokens import BadToken, position

DEBEZIUM_MONGODB = "io.debezium.connector.mongodb.MongoDbConnector"


@dataclass(frozen=True)
class Moved:
    """Offsets before and after a change."""

    before: list[SourceOffset]
    after: list[SourceOffset]
    said: str
    """Connect's own sentence."""

    def as_json(self) -> dict[str, Any]:
        """For --json and the operators' endpoint."""
        return {"before": [row(entry) for entry in self.before], "after": [row(entry) for entry in self.after], "message": self.said}


def row(entry: SourceOffset) -> dict[str, Any]:
    """An offset with where it stands in words."""
    return {**entry.model_dump(), "words": in_words(entry.offset)}


def at_token(token: str) -> dict[str, Any]:
    """Debezium's offset that goes on behind a resume token, given as hex or as Debezium stores it.

    Raises:
        RefusedError: it is not a resume token.
    """
    return {"resume_token": hex_token(token)}


def at_time(seconds: int, ordinal: int = 0) -> dict[str, Any]:
    """Debezium's offset that goes on at a cluster time."""
    return {"sec": seconds, "ord": ordinal}


def hex_token(token: str) -> str:
    """The hex form of a resume token that is given as hex, or as base64 of its BSON document.

    Raises:
        RefusedError: it is neither.
    """
    try:
        position(token)
    except BadToken as error:
        try:
            data = bson.decode(base64.b64decode(token, validate=True)).get("_data")
            position(str(data))
        except (binascii.Error, BSONError, BadToken, ValueError):
            raise RefusedError(f"{error}; Debezium's own form, base64 of BSON, serves too") from None
        return str(data)
    return token


def in_words(offset: Mapping[str, Any] | None) -> str:
    """Where a Debezium offset stands, in a person's words; "" where it is of another kind."""
    if not offset:
        return ""
    if token := offset.get("resume_token"):
        try:
            seconds, ordinal = position(hex_token(str(token)))
        except RefusedError:
            return ""
        return f"behind a change of {_instant(seconds)} (ordinal {ordinal})"
    if int(offset.get("sec", -1)) >= 0:
        return f"at {_instant(int(offset['sec']))} (ordinal {offset.get('ord', 0)})"
    return ""


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def partition_of(config: Mapping[str, str], stored: Sequence[SourceOffset]) -> dict[str, Any]:
    """The partition that a change is to name.

    Raises:
        RefusedError: it can not be known: another kind of connector with no or several partitions.
    """
    if config.get("connector.class") == DEBEZIUM_MONGODB:
        return {"server_id": config.get("topic.prefix", "")}
    if len(stored) == 1:
        return stored[0].partition
    raise RefusedError(f"the connector has {len(stored)} partitions; name the one to change with --partition")


def check_partition(config: Mapping[str, str], stored: Sequence[SourceOffset], partition: Mapping[str, Any]) -> None:
    """Refuse a partition that the connector would never look at; Connect itself accepts it in silence.

    Raises:
        RefusedError: names those that there are.
    """
    known = [offset.partition for offset in stored]
    if config.get("connector.class") == DEBEZIUM_MONGODB:
        known.append({"server_id": config.get("topic.prefix", "")})
    if dict(partition) not in known and known:
        raise RefusedError(f"partition {dict(partition)} is none of the connector's: {', '.join(map(str, known))}")


def show(session: Session, name: str) -> list[SourceOffset]:
    """The committed offsets; empty until the first event."""
    return session.client.offsets(session.full(name))


def move(session: Session, name: str, offset: Mapping[str, Any], partition: Mapping[str, Any] | None = None) -> Moved:
    """Make a stopped connector go on from another position.

    Raises:
        RefusedError: it is not stopped, or the partition is not its own.
        WorkerError: Connect said that it did it, and did not.
    """
    full, before = _stopped(session, name)
    config = session.client.config(full)
    where = dict(partition) if partition is not None else partition_of(config, before)
    check_partition(config, before, where)
    said = session.client.set_offsets(full, [SourceOffset(partition=where, offset=dict(offset))])
    after = session.client.offsets(full)
    if SourceOffset(partition=where, offset=dict(offset)) not in after:
        raise WorkerError(f"{full}: Connect answered {said!r}, but its offsets are {[entry.model_dump() for entry in after]}")
    return Moved(before, after, said)


def reset(session: Session, name: str) -> Moved:
    """Remove all offsets of a stopped connector: with snapshot.mode when_needed it begins with a new snapshot.

    Raises:
        RefusedError: it is not stopped.
        WorkerError: Connect said that it did it, and did not.
    """
    full, before = _stopped(session, name)
    said = session.client.reset_offsets(full)
    after = session.client.offsets(full)
    if after:
        raise WorkerError(f"{full}: Connect answered {said!r}, but its offsets are {[entry.model_dump() for entry in after]}")
    return Moved(before, after, said)


def _stopped(session: Session, name: str) -> tuple[str, list[SourceOffset]]:
    full = session.full(name)
    session.client.connector(full)
    state = session.client.status(full).connector.state
    if state != STOPPED:
        raise RefusedError(f"{full} is {state}; its offsets can be changed once it is stopped: millrace connect stop {name}")
    return full, session.client.offsets(full)
