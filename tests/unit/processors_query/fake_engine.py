"""An engine that keeps the port's promises without Spark: a query waits for its gate, then answers what its SQL's limit says."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pyarrow as pa

from millrace_processors.query.engine import Answer, Limits, Sources
from millrace_processors.query.errors import CancelledError, FailedError
from millrace_processors.query.rewriting import Statement, Table


class FakeEngine:
    """``gate``: queries answer only while it is set. ``started`` holds (job, pool, statement) in order.

    ``unstoppable``: jobs whose tasks go on after they were cancelled. ``stuck``: pools whose queries are planned until ``released``.
    """

    def __init__(self, rows: int = 3) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started: list[tuple[str, str, Statement]] = []
        self.cancelled: list[str] = []
        self.unstoppable: set[str] = set()
        self.stuck: set[str] = set()
        self.released = threading.Event()
        self.problem: Exception | None = None
        self._rows = rows

    def sources(self) -> Sources:
        tables = {"facts": Table(("lake", "shop", "facts"), 1), "merchants": Table(("lake", "shop", "merchants"), 1)}
        return Sources(tables, 1_700_000_000_000)

    def run(self, job_id: str, pool: str, statement: Statement, limits: Limits, cancelled: Callable[[], bool]) -> Answer:
        self.started.append((job_id, pool, statement))
        if pool in self.stuck:
            self.released.wait()
        while not self.gate.wait(0.01):
            if cancelled():
                raise CancelledError("cancelled")
        if self.problem is not None:
            raise self.problem
        if job_id in self.cancelled:
            raise FailedError("cancelled too late")
        count = min(self._rows, limits.result_rows)
        table = pa.table({"n": pa.array(range(count), pa.int64()), "text": [f'row {number}, "{number}"' for number in range(count)]})
        return Answer(table, self._rows > limits.result_rows, 42)

    def busy(self, job_id: str) -> bool:
        return job_id in self.unstoppable

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
