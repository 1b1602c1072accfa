"""The life of a job: asked, waiting, running, done, paged out, expired. Threads run the jobs, one each at a time."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from millrace_contracts.windows import from_ms, to_ms
from millrace_processors.query import guard
from millrace_processors.query.asking import Question
from millrace_processors.query.engine import Answer, Engine, Limits
from millrace_processors.query.errors import CancelledError, FailedError, GoneError, NotFoundError, NotReadyError, QueryError, TimedOutError
from millrace_processors.query.identity import Caller
from millrace_processors.query.jobs import PENDING, Job, JobStore, State
from millrace_processors.query.metrics import Metrics
from millrace_processors.query.queue import Bounds, FairQueue
from millrace_processors.query.results import Page, Results
from millrace_processors.query.rewriting import Scope, rewrite
from millrace_processors.query.settings import QuerySettings

log = structlog.get_logger()
REMEMBERED_MS = 7 * 86_400_000
"""How long a caller can ask what became of a job that holds no result."""
SWEEP_SECONDS = 5.0
PENALTY_MS = 86_400_000
"""How long an engine that a tenant ended counts against it."""
LAKE, STATEMENT, TASKS, RESULT = "lake", "statement", "tasks", "result"
"""What a job is at: reading what the lake holds, planning and running, tasks that are left of it, keeping its rows."""


class QueryService:
    """Jobs in, results out.

    ``complete_through`` tells up to when every change is in the lake (I13), None where that is not known; ``give_up`` ends the process.
    """

    def __init__(
        self,
        settings: QuerySettings,
        engine: Engine,
        metrics: Metrics,
        complete_through: Callable[[], int | None],
        give_up: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._engine, self._metrics = settings, engine, metrics
        self._complete_through, self._give_up, self._clock = complete_through, give_up, clock
        folder = Path(settings.results)
        self._store, self._results = JobStore(folder), Results(folder)
        self._queue = FairQueue(Bounds(settings.max_running_per_tenant, settings.max_queued_per_tenant, settings.max_queued))
        self._limits = Limits(settings.max_rows_read, settings.max_result_rows, settings.max_result_bytes)
        self._stopping = threading.Event()
        self._active: dict[str, str] = {}
        self._replacing = threading.Lock()
        self._threads: list[threading.Thread] = []

    # --- the process ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run jobs; what an earlier process has left unfinished is lost, or taken up again where another job has ended it."""
        again = self._store.take_up()
        lost = self._store.lose_pending(self._now(), [job.id for job in again])
        if lost or again:
            log.warning("query.lost", jobs=lost, again=len(again))
        for job in again:
            self._queue.restore(job.tenant, job.id)
        self._metrics.again.inc(len(again))
        self._metrics.queued.set(len(self._queue))
        self._hold()
        self._metrics.stuck.set_function(lambda: len(self._stuck()))
        for number in range(self._settings.max_running):
            self._threads.append(threading.Thread(target=self._work, name=f"query-{number}", daemon=True))
        self._threads.append(threading.Thread(target=self._sweep_often, name="query-sweep", daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self, within: float = 10.0) -> None:
        """Cancel what runs and take nothing more; what had not ended is lost."""
        self._stopping.set()
        self._queue.close()
        running = self._store.lose_pending(self._now())
        if running:
            log.info("query.stopping", lost=running)
        for job_id in tuple(self._active):
            self._engine.cancel(job_id)
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._store.close()

    def _hold(self) -> None:
        """Let the tenants wait that have ended engines: longer for each one within a day."""
        now, ended = self._now(), self._store.replaced()
        guilty: dict[str, list[int]] = {}
        for each in ended:
            self._metrics.replaced.labels(each.at).inc()
            # The lake and the disk are not the caller's doing.
            if each.at in (STATEMENT, TASKS) and each.at_ms > now - PENALTY_MS:
                guilty.setdefault(each.tenant, []).append(each.at_ms)
        for tenant, instants in guilty.items():
            seconds = (max(instants) - now) / 1000 + self._settings.penalty_seconds * len(instants)
            if seconds > 0:
                log.warning("query.tenant_waits", tenant=tenant, seconds=round(seconds), engines=len(instants))
                self._queue.hold(tenant, seconds)

    def _stuck(self) -> list[str]:
        """Jobs that have ended and still hold a slot."""
        return [] if self._stopping.is_set() else [job_id for job_id in tuple(self._active) if self._ended(job_id)]

    def ready(self) -> tuple[bool, str]:
        """Whether a job can get a slot now or once a running one ends, and what is wrong."""
        if self._replacing.locked():
            return False, "the engine is being replaced"
        stuck = len(self._stuck())
        if stuck < self._settings.max_running:
            return True, "ready"
        within = f"{self._settings.grace_seconds:g} s"
        return False, f"queries that have ended still hold all {stuck} slots; the engine is replaced within {within}"

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._queue)

    # --- a caller ------------------------------------------------------------------------------------------------------------

    def submit(self, caller: Caller, asked: Question) -> Job:
        """Take a query.

        Raises:
            QueryError: it is refused (``guard``), is for rows that are not the caller's, or too many wait.
        """
        try:
            merchants = caller.rows(asked.merchants)
            guard.check(asked.sql, everything=caller.sees_all)
            job = Job(
                # No dash may begin it: `millrace query status ID` would take it for an option.
                id=secrets.token_hex(16),
                owner=caller.owner,
                tenant=caller.tenant,
                sql=asked.sql,
                start_ms=to_ms(asked.start),
                end_ms=to_ms(asked.end),
                default_range=asked.default_range,
                merchants=json.dumps(merchants),
                everything=caller.sees_all,
                created_ms=self._now(),
            )
            # Kept before it is queued: whoever takes it out finds it.
            self._store.add(job)
            try:
                self._queue.add(job.tenant, job.id)
            except QueryError:
                self._store.remove(job.id)
                raise
        except QueryError as error:
            self._metrics.refused.labels(error.code).inc()
            raise
        self._metrics.queued.set(len(self._queue))
        return job

    def job(self, caller: Caller, job_id: str) -> Job:
        """A job of the caller.

        Raises:
            NotFoundError: they have none of this id; the same answer for another's.
        """
        found = self._store.get(job_id)
        if found is None or found.owner != caller.owner:
            raise NotFoundError(f"there is no query {job_id!r:.60} of yours")
        return found

    def jobs(self, caller: Caller) -> list[Job]:
        """The caller's jobs, the newest first."""
        return self._store.of_owner(caller.owner)

    def page(self, caller: Caller, job_id: str, offset: int, limit: int) -> Page:
        """Rows of a result.

        Raises:
            NotFoundError: no such job of the caller. NotReadyError: it has no result. GoneError: it has expired.
        """
        job = self.job(caller, job_id)
        if job.state is State.EXPIRED:
            raise GoneError("the result has expired; ask the query again", state=job.state)
        if job.state is not State.DONE:
            why = "has not ended; ask for its status until it has" if job.pending else f"has ended without a result ({job.state})"
            raise NotReadyError(f"the query {why}", state=job.state, **({"reason": job.error} if job.error else {}))
        try:
            table = self._results.read(job_id, offset, limit)
        except FileNotFoundError:
            raise GoneError("the result has expired; ask the query again", state=State.EXPIRED) from None
        total = job.rows or 0
        following = offset + table.num_rows
        return Page(table, offset, following if following < total else None, total, job.truncated)

    def cancel(self, caller: Caller, job_id: str) -> Job:
        """Cancel a job that has not ended; remove the result of one that has. Safe to repeat."""
        job = self.job(caller, job_id)
        if job.pending:
            ended = {"state": State.CANCELED, "finished_ms": self._now(), "code": CancelledError.code, "error": "cancelled by its caller"}
            if self._store.change(job_id, PENDING, **ended):
                self._metrics.jobs.labels(State.CANCELED).inc()
            if not self._queue.remove(job.tenant, job_id):
                self._end_in_engine(job_id)
        elif job.state is State.DONE:
            self._expire(job)
        self._metrics.queued.set(len(self._queue))
        return self.job(caller, job_id)

    # --- the threads ---------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (taken := self._queue.take()) is not None:
            tenant, job_id = taken
            self._metrics.queued.set(len(self._queue))
            try:
                self._active[job_id] = LAKE
                self._run(job_id)
            except Exception as error:
                reference = secrets.token_hex(8)
                log.error("query.unforeseen", job=job_id, reference=reference, exc_info=error)
                self._end(job_id, FailedError(f"internal error; tell us the reference {reference}"))
            finally:
                self._active.pop(job_id, None)
                self._queue.done(tenant)

    def _run(self, job_id: str) -> None:
        """One job: (1) mark it as running, (2) rewrite and run it within its time, (3) keep the result, (4) say what became of it."""
        job = self._store.get(job_id)
        started = self._now()
        if job is None or not self._store.change(job_id, (State.QUEUED,), state=State.RUNNING, started_ms=started):
            return
        self._metrics.wait.observe((started - job.created_ms) / 1000)
        timer = threading.Timer(self._settings.timeout_seconds, self._time_out, [job_id])
        timer.daemon = True
        with self._metrics.running.track_inprogress():
            try:
                timer.start()
                self._done(job, *self._answer(job))
            except QueryError as error:
                self._end(job_id, error)
            finally:
                timer.cancel()
                self._metrics.seconds.observe((self._now() - started) / 1000)

    def _answer(self, job: Job) -> tuple[Answer, dict[str, Any]]:
        # Progress is read before the lake that it speaks for (I13).
        through = self._complete_through()
        sources = self._engine.sources()
        merchants = json.loads(job.merchants)
        scope = Scope(None if merchants is None else tuple(merchants), job.everything, from_ms(job.start_ms), from_ms(job.end_ms))
        self._active[job.id] = STATEMENT
        statement = rewrite(job.sql, scope, sources.tables)
        answer = self._engine.run(job.id, job.tenant, statement, self._limits, lambda: self._ended(job.id))
        return answer, {"as_of_ms": sources.as_of_ms, "complete_through_ms": through}

    def _ended(self, job_id: str) -> bool:
        job = self._store.get(job_id)
        return self._stopping.is_set() or job is None or not job.pending

    def _done(self, job: Job, answer: Answer, freshness: dict[str, Any]) -> None:
        self._active[job.id] = RESULT
        size = self._results.write(job.id, answer.table)
        now = self._now()
        kept = {"rows": answer.table.num_rows, "bytes": size, "truncated": answer.truncated, "rows_read": answer.rows_read, **freshness}
        expires = now + int(self._settings.keep_seconds * 1000)
        if not self._store.change(job.id, (State.RUNNING,), state=State.DONE, finished_ms=now, expires_ms=expires, **kept):
            self._results.remove(job.id)
            return
        self._metrics.jobs.labels(State.DONE).inc()
        self._metrics.rows_read.inc(answer.rows_read)
        log.info("query.done", job=job.id, tenant=job.tenant, milliseconds=now - job.created_ms, **kept)
        for old in self._store.done_of_tenant(job.tenant)[self._settings.max_kept_per_tenant :]:
            self._expire(old)

    def _end(self, job_id: str, error: QueryError) -> None:
        if self._replacing.locked():
            # It fails because the engine goes, and is due again in the next one.
            return
        ended = {"finished_ms": self._now(), "code": error.code, "error": error.message}
        if self._store.change(job_id, PENDING, state=State.FAILED, **ended):
            self._metrics.jobs.labels(State.FAILED).inc()
            log.info("query.failed", job=job_id, code=error.code, reason=error.message)

    def _time_out(self, job_id: str) -> None:
        try:
            said = f"the query ran for {self._settings.timeout_seconds:g} s, which is all that one may; ask for less"
            self._end(job_id, TimedOutError(said))
        finally:
            self._end_in_engine(job_id)

    def _end_in_engine(self, job_id: str) -> None:
        # First, since an engine that hangs does not come back from being told.
        timer = threading.Timer(self._settings.grace_seconds, self._see_that_it_ended, [job_id])
        timer.daemon = True
        timer.start()
        self._engine.cancel(job_id)

    def _see_that_it_ended(self, job_id: str) -> None:
        """A query that does not listen would hold a slot or the cores from every other one: then the engine goes, and a new process comes.

        Its slot comes first: it is held in planning, collecting and writing too, and no engine is asked for it.
        """
        at = self._active.get(job_id)
        if self._stopping.is_set() or (at is None and not self._engine.busy(job_id)) or not self._replacing.acquire(blocking=False):
            return
        try:
            job = self._store.get(job_id)
            tenant = "" if job is None else job.tenant
            log.error("query.unstoppable", job=job_id, tenant=tenant, at=at or TASKS, fix="the process ends; its supervisor starts another")
            self._store.replace_engine(self._now(), tenant, job_id, at or TASKS)
        finally:
            self._give_up()

    def _sweep_often(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self.sweep()

    def sweep(self) -> None:
        """Remove what has had its time."""
        now = self._now()
        for job in self._store.expired(now):
            self._expire(job)
        self._store.forget(now - REMEMBERED_MS)

    def _expire(self, job: Job) -> None:
        self._store.change(job.id, (State.DONE,), state=State.EXPIRED)
        self._results.remove(job.id)

    def _now(self) -> int:
        return to_ms(self._clock())
