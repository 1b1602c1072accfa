"""How long a reprocess is expected to take, and what that rests on: the last one from the same place, and the dry run that asks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from cassandra.cluster import Session

from millrace_contracts.reports import PROGRESS_REPROCESS, PROGRESS_TABLE
from millrace_processors.reprocessing import Reprocessed

LIKE = 0.1
"""A run that had less than this share of the work says nothing of its rate: starting up was most of it."""


@dataclass(frozen=True)
class Ran:
    """A reprocess that was written and finished. ``work``: facts from the lake, else the change events or documents that were read."""

    work: int
    seconds: float


@dataclass(frozen=True)
class Expected:
    """``seconds`` that the same without --dry-run takes, and in words what they rest on."""

    seconds: float
    rests_on: str


def work_of(source: str, done: Reprocessed) -> int:
    """What the time of a reprocess grows with."""
    return done.refreshed.facts if source == "lake" else done.events


def expected(source: str, done: Reprocessed, seconds: float, earlier: Ran | None) -> Expected:
    """What to expect after a dry run that took so many seconds, which has done all but the writing."""
    work, unit = work_of(source, done), {"lake": "facts", "mongo": "payments"}.get(source, "events")
    if earlier is None or not work or earlier.work < work * LIKE:
        why = "there was no run" if earlier is None else f"the last run had only {earlier.work:,} {unit}"
        return Expected(seconds, f"this dry run, which did all but write: the writing comes on top; {why} to know its rate from")
    rate = earlier.work / earlier.seconds
    text = f"the last run, which wrote {earlier.work:,} {unit} at {rate:,.0f}/s, and no less than this dry run"
    return Expected(round(max(seconds, work / rate), 3), text)


def remember(session: Session, keyspace: str, source: str, ran: Ran) -> None:
    """Keep the rate of a run for the next dry run from the same place."""
    statement = f"INSERT INTO {keyspace}.{PROGRESS_TABLE} (name, updated_at, detail) VALUES (%s, to_timestamp(now()), %s)"  # noqa: S608
    session.execute(statement, (PROGRESS_REPROCESS + source, json.dumps(asdict(ran))))


def recall(session: Session, keyspace: str, source: str) -> Ran | None:
    """The last run from a place."""
    row = session.execute(f"SELECT detail FROM {keyspace}.{PROGRESS_TABLE} WHERE name = %s", (PROGRESS_REPROCESS + source,)).one()  # noqa: S608
    return Ran(**json.loads(row.detail)) if row and row.detail else None
