"""Jobs and where they are kept: one row a job in a SQLite file, so that a caller learns after a restart what became of theirs.

A query that was waiting or running when the process ended is ``lost``: its SQL is asked again by the caller, never by the service, which
would otherwise be ended by the same query again and again.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """``done``, ``failed``, ``canceled``, ``lost`` and ``expired`` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"
    EXPIRED = "expired"


PENDING = (State.QUEUED, State.RUNNING)
LOST = "the service was stopped before the query had ended; ask again"


@dataclass(frozen=True)
class Job:
    """A query of one caller. Instants are epoch milliseconds; ``owner`` is a digest of who asked and of the rows that they may see."""

    id: str
    owner: str
    tenant: str
    sql: str
    start_ms: int
    end_ms: int
    default_range: bool
    merchants: str
    """JSON: a list of merchants, or null for all."""
    everything: bool
    created_ms: int
    state: State = State.QUEUED
    started_ms: int | None = None
    finished_ms: int | None = None
    expires_ms: int | None = None
    rows: int | None = None
    bytes: int | None = None
    truncated: bool = False
    rows_read: int | None = None
    as_of_ms: int | None = None
    complete_through_ms: int | None = None
    code: str | None = None
    error: str | None = None

    @property
    def pending(self) -> bool:
        """Whether it has not ended."""
        return self.state in PENDING


_COLUMNS = tuple(each.name for each in fields(Job))
_FLAGS = ("default_range", "everything", "truncated")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"  # noqa: S608 - names of our own


class JobStore:
    """The jobs in ``<folder>/jobs.sqlite``; for several threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._file = sqlite3.connect(folder / "jobs.sqlite", check_same_thread=False, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute(f"CREATE TABLE IF NOT EXISTS jobs ({', '.join(_COLUMNS)}, PRIMARY KEY (id)) WITHOUT ROWID")
        self._file.execute("CREATE INDEX IF NOT EXISTS by_owner ON jobs (owner, created_ms)")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def add(self, job: Job) -> None:
        """Keep a new job."""
        values = [getattr(job, name) for name in _COLUMNS]
        self._run(f"INSERT INTO jobs VALUES ({', '.join('?' * len(_COLUMNS))})", values)  # noqa: S608

    def remove(self, job_id: str) -> None:
        """Remove a job that was not taken after all."""
        self._run("DELETE FROM jobs WHERE id = ?", [job_id])

    def change(self, job_id: str, only_in: tuple[State, ...], **values: Any) -> bool:
        """Set columns of a job, only if it is in one of these states; whether it was."""
        sets, states = ", ".join(f"{name} = ?" for name in values), ", ".join("?" * len(only_in))
        with self._lock:
            done = self._file.execute(
                f"UPDATE jobs SET {sets} WHERE id = ? AND state IN ({states})",  # noqa: S608 - names of our own
                [*values.values(), job_id, *only_in],
            )
            return done.rowcount == 1

    def get(self, job_id: str) -> Job | None:
        """A job, or None."""
        return next(iter(self._jobs("WHERE id = ?", job_id)), None)

    def of_owner(self, owner: str, most: int = 100) -> list[Job]:
        """A caller's jobs, the newest first."""
        return self._jobs("WHERE owner = ? ORDER BY created_ms DESC, id LIMIT ?", owner, most)

    def done_of_tenant(self, tenant: str) -> list[Job]:
        """A tenant's jobs that have a result, the newest first."""
        return self._jobs("WHERE tenant = ? AND state = ? ORDER BY finished_ms DESC", tenant, State.DONE)

    def expired(self, now_ms: int) -> list[Job]:
        """Jobs whose result has had its time."""
        return self._jobs("WHERE state = ? AND expires_ms <= ?", State.DONE, now_ms)

    def lose_pending(self, now_ms: int) -> int:
        """Mark what had not ended as lost; how many jobs."""
        with self._lock:
            done = self._file.execute(
                "UPDATE jobs SET state = ?, finished_ms = ?, code = 'LOST', error = ? WHERE state IN (?, ?)",
                [State.LOST, now_ms, LOST, *PENDING],
            )
            return done.rowcount

    def forget(self, before_ms: int) -> None:
        """Remove the rows of jobs that were asked before then and hold no result."""
        self._run("DELETE FROM jobs WHERE created_ms < ? AND state NOT IN (?, ?, ?)", [before_ms, *PENDING, State.DONE])

    def _run(self, statement: str, values: list[Any]) -> None:
        with self._lock:
            self._file.execute(statement, values)

    def _jobs(self, rest: str, *values: Any) -> list[Job]:
        with self._lock:
            rows = self._file.execute(f"{_SELECT} {rest}", values).fetchall()
        found = []
        for row in rows:
            named = dict(zip(_COLUMNS, row, strict=True))
            found.append(Job(**{**named, "state": State(named["state"]), **{name: bool(named[name]) for name in _FLAGS}}))
        return found
