"""Source offsets: shown in a person's words, and changed only under guard.

Connect takes a wrong partition without a word and changes nothing (seen with 4.3), and it takes a change only of a STOPPED
connector. So a change is compared with what the connector would use, made, and read back.

Debezium's MongoDB connector keeps ``{"server_id": <topic.prefix>}`` -> ``{"sec", "ord", "resume_token"}``, where the token is the base64
of its BSON document; given by hand, the plain hex token serves too. ``sec`` and ``ord`` without a token do not (seen with 3.6): it calls
them lost and takes a snapshot. So a time is given as the token that MongoDB itself would hand out for it, had nothing happened there.
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


_BETWEEN_EVENTS = "2B0229296E04"
"""How the tokens of MongoDB 4.0.7 and later end that stand for a time and no event; they sort before every event of their time."""


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
    """Debezium's offset that goes on with the first change at or after a cluster time.

    Raises:
        RefusedError: the numbers are none of a BSON timestamp.
    """
    if not (0 < seconds < 1 << 32 and 0 <= ordinal < 1 << 32):
        raise RefusedError(f"{seconds}.{ordinal} is not a cluster time: two numbers of 32 bits, the first in seconds since 1970")
    return {"resume_token": f"82{seconds:08X}{ordinal:08X}{_BETWEEN_EVENTS}"}


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
        where = "at" if hex_token(str(token)).endswith(_BETWEEN_EVENTS) else "behind a change of"
        return f"{where} {_instant(seconds)} (ordinal {ordinal})"
    at = offset.get("sec")
    if isinstance(at, int) and 0 <= at < 1 << 32:
        return f"{_instant(at)} (ordinal {offset.get('ord', 0)}) without a token: Debezium takes a snapshot"
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
