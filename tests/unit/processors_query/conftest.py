"""A service on a fake engine, with a clock that the test turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from millrace_processors.query.asking import question
from millrace_processors.query.identity import Caller
from millrace_processors.query.jobs import Job, JobStore
from millrace_processors.query.metrics import Metrics
from millrace_processors.query.service import QueryService
from millrace_processors.query.settings import QuerySettings
from tests.support.waiting import wait_until
from tests.unit.processors_query.fake_engine import FakeEngine

NOW = datetime(2026, 11, 25, 12, 3, tzinfo=UTC)
ANNE = Caller("anne", "merchant", frozenset({"m1", "m2"}))
BOB = Caller("bob", "merchant", frozenset({"m3"}))
ANALYST = Caller("zoe", "operator", frozenset())


class Place:
    """A service that can be started again over the same folder."""

    def __init__(self, folder: Path, **settings: float) -> None:
        self.settings = QuerySettings.model_validate({"results": str(folder), **settings})
        self.engine, self.metrics = FakeEngine(), Metrics()
        self.now, self.given_up = NOW, threading.Event()
        self.service = self._made()

    def _made(self) -> QueryService:
        service = QueryService(self.settings, self.engine, self.metrics, lambda: 1_600_000_000_000, self.given_up.set, lambda: self.now)
        service.start()
        return service

    def replace_engine(self, *, gate: bool = True) -> None:
        """Another process over the same folder, after this one has ended without a stop; nothing of this one runs on.

        ``gate``: whether the new engine answers.
        """
        ended, store = self.service, self.service._store
        # Its threads end, and none of them writes any more.
        gone = create_autospec(JobStore, instance=True)
        gone.change.return_value, gone.get.return_value = False, None
        ended._store = gone
        ended._stopping.set()
        ended._queue.close()
        self.engine.gate.set()
        self.engine.released.set()
        for thread in ended._threads:
            thread.join(60)
        store.close()
        self.engine, self.metrics = FakeEngine(), Metrics()
        if not gate:
            self.engine.gate.clear()
        self.given_up = threading.Event()
        self.service = self._made()

    def restart(self) -> None:
        """Another process over the same folder."""
        self.service.stop()
        self.service = self._made()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def ask(self, caller: Caller = ANNE, sql: str = "SELECT count(*) FROM payments", **body: object) -> Job:
        return self.service.submit(caller, question({"sql": sql, **body}, self.settings, self.now))

    def ended(self, job: Job, caller: Caller = ANNE) -> Job:
        """The job once it has ended."""
        wait_until(lambda: not self.service.job(caller, job.id).pending, 60, "the query has ended")
        return self.service.job(caller, job.id)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "queries", max_running=2, max_queued_per_tenant=2, max_kept_per_tenant=3, keep_seconds=60)
    yield made
    made.engine.gate.set()
    made.engine.released.set()
    made.service.stop()
