"""Jobs and where they are kept: one row a job in a SQLite file, so that a caller learns after a restart what became of theirs.

A query that was waiting or running when the process ended is ``lost``: its SQL is asked again by the caller, never by the service, which
would otherwise be ended by the same query again and again. Where it is known which query ended the engine, the others are taken up again:
those that waited each time, those that ran once.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection
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


@dataclass(frozen=True)
class Replaced:
    """An engine that a tenant's job has ended. ``at``: what the job was at."""

    at_ms: int
    tenant: str
    at: str


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
        # Tables of their own, so that an older version still reads and writes `jobs`.
        self._file.execute("CREATE TABLE IF NOT EXISTS replaced (at_ms, tenant, job, at)")
        self._file.execute("CREATE TABLE IF NOT EXISTS again (id PRIMARY KEY, runs, due) WITHOUT ROWID")

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

    def lose_pending(self, now_ms: int, but: Collection[str] = ()) -> int:
        """Mark what had not ended as lost, but for these; how many jobs."""
        with self._lock:
            done = self._file.execute(
                "UPDATE jobs SET state = ?, finished_ms = ?, code = 'LOST', error = ? WHERE state IN (?, ?) "  # noqa: S608
                f"AND id NOT IN ({', '.join('?' * len(but))})",
                [State.LOST, now_ms, LOST, *PENDING, *but],
            )
            return done.rowcount

    def replace_engine(self, now_ms: int, tenant: str, job_id: str, at: str) -> None:
        """Note that a job ends the engine; whatever else has not ended is due again, unless it has run again before."""
        with self._lock:
            self._file.execute("BEGIN")
            self._file.execute("INSERT INTO replaced VALUES (?, ?, ?, ?)", [now_ms, tenant, job_id, at])
            self._file.execute(
                "INSERT INTO again SELECT id, state = ?, 1 FROM jobs WHERE state IN (?, ?) AND id <> ? "
                "ON CONFLICT (id) DO UPDATE SET runs = runs + excluded.runs, due = runs + excluded.runs <= 1",
                [State.RUNNING, *PENDING, job_id],
            )
            self._file.execute("COMMIT")

    def replaced(self) -> list[Replaced]:
        """Every engine that a job has ended, the first one first."""
        with self._lock:
            return [Replaced(*row) for row in self._file.execute("SELECT at_ms, tenant, at FROM replaced ORDER BY at_ms")]

    def take_up(self) -> list[Job]:
        """Put the jobs that are due again among the waiting ones, once; those jobs, first the ones that ran, then the oldest."""
        with self._lock:
            self._file.execute("BEGIN")
            ordered = "SELECT id FROM again JOIN jobs USING (id) WHERE due ORDER BY runs DESC, created_ms, id"
            due = [row[0] for row in self._file.execute(ordered)]
            self._file.execute(
                "UPDATE jobs SET state = ?, started_ms = NULL WHERE state IN (?, ?) AND id IN (SELECT id FROM again WHERE due)",
                [State.QUEUED, *PENDING],
            )
            self._file.execute("UPDATE again SET due = 0")
            self._file.execute("DELETE FROM again WHERE id NOT IN (SELECT id FROM jobs)")
            self._file.execute("COMMIT")
        waiting = {job.id: job for job in self._jobs("WHERE state = ?", State.QUEUED)}
        return [waiting[job_id] for job_id in due if job_id in waiting]

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
