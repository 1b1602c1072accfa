"""A replay's record in the progress topic: what it was asked, and how far it is. Written in the transactions that it covers (I2).

Key ``<ns>/replay/<id>``, kind ``replay``. ``token`` is where to go on, null before the first transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from millrace_cdc.errors import Misconfigured
from millrace_cdc.progress import FORMAT, Records
from millrace_cdc.replay.points import Time


@dataclass(frozen=True)
class Filter:
    """Which changes; empty means all. ``merchants`` are those before or after the change."""

    merchants: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def stages(self) -> list[dict[str, Any]]:
        """``$match`` for the change stream, evaluated by the server."""
        conditions: list[dict[str, Any]] = []
        if self.merchants:
            wanted = {"$in": list(self.merchants)}
            # A payment that was moved to another merchant concerns both.
            conditions.append({"$or": [{f"{image}.merchantId": wanted} for image in ("fullDocument", "fullDocumentBeforeChange")]})
        if self.ids:
            conditions.append({"documentKey._id": {"$in": list(self.ids)}})
        if not conditions:
            return []
        # What happens to the whole collection is never filtered away: a replay ends there, and says so.
        changes = {"operationType": {"$in": ["insert", "update", "replace", "delete"]}}
        return [{"$match": {"$or": [{"operationType": {"$nin": changes["operationType"]["$in"]}}, {"$and": conditions}]}}]

    def words(self) -> str:
        """For a person."""
        parts = [f"merchant {', '.join(self.merchants)}"] if self.merchants else []
        parts += [f"document {', '.join(self.ids)}"] if self.ids else []
        return " and ".join(parts) or "every document"


@dataclass(frozen=True)
class Replay:
    """What is to be sent again."""

    id: str
    start_token: str | None
    start_at: Time
    end_token: str | None
    end_at: Time
    topic: str
    filter: Filter = field(default_factory=Filter)
    rate: int = 0
    """Events a second at most; 0 for no bound."""
    started_ms: int = 0
    token: str | None = None
    sent: int = 0
    finished_ms: int | None = None

    def encode(self) -> bytes:
        """The record."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "kind": "replay",
                "from": {"token": self.start_token, "at": self.start_at},
                "to": {"token": self.end_token, "at": self.end_at},
                "topic": self.topic,
                "merchants": self.filter.merchants,
                "ids": self.filter.ids,
                "rate": self.rate,
                "started_ms": self.started_ms,
                "token": self.token,
                "sent": self.sent,
                "finished_ms": self.finished_ms,
            }
        )

    @classmethod
    def decode(cls, replay_id: str, record: Mapping[str, Any]) -> Replay:
        """A replay from its record."""
        start, end = record["from"], record["to"]
        return cls(
            id=replay_id,
            start_token=start["token"],
            start_at=(start["at"][0], start["at"][1]),
            end_token=end["token"],
            end_at=(end["at"][0], end["at"][1]),
            topic=record["topic"],
            filter=Filter(tuple(record["merchants"]), tuple(record["ids"])),
            rate=record["rate"],
            started_ms=record["started_ms"],
            token=record["token"],
            sent=record["sent"],
            finished_ms=record["finished_ms"],
        )


def replay_key(namespace: str, replay_id: str) -> str:
    """Key of a replay."""
    return f"{namespace}/replay/{replay_id}"


def new_id(now: datetime) -> str:
    """An id that tells when it was begun."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


def replays(namespace: str, records: Records) -> list[Replay]:
    """Every replay of a collection, the newest first."""
    prefix = replay_key(namespace, "")
    found = [Replay.decode(key.removeprefix(prefix), record) for key, record in records.items() if key.startswith(prefix)]
    return sorted(found, key=lambda each: each.started_ms, reverse=True)


def unfinished(namespace: str, records: Records, replay_id: str) -> Replay:
    """The replay to go on with.

    Raises:
        Misconfigured: there is none, or it has ended.
    """
    found = {each.id: each for each in replays(namespace, records)}
    if replay_id not in found:
        open_ones = ", ".join(each.id for each in found.values() if each.finished_ms is None) or "none"
        raise Misconfigured(f"--resume: {namespace} has no replay {replay_id!r} (unfinished: {open_ones})")
    if found[replay_id].finished_ms is not None:
        raise Misconfigured(f"--resume: the replay {replay_id} has ended, it sent {found[replay_id].sent:,} events; start a new one")
    return found[replay_id]
