"""Up to when every change is in the lake (I13): what the stream has saved in Cassandra. A query does not fail where Cassandra is away."""

from __future__ import annotations

import threading
import time

import structlog

from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_processors import report_store
from millrace_processors.progress import ProgressTable
from millrace_processors.settings import Config

log = structlog.get_logger()
AGAIN_SECONDS = 30.0
"""After a failure Cassandra is left alone for so long, so that queries do not wait for it one by one."""


class CompleteThrough:
    """Called for each query: epoch milliseconds, or None where it is not known."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._table: ProgressTable | None = None
        self._not_before = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> int | None:
        """Read it."""
        with self._lock:
            if time.monotonic() < self._not_before:
                return None
            try:
                if self._table is None:
                    self._table = ProgressTable(report_store.session(self._config.cassandra), self._config.names.keyspace)
                return self._table.through(PROGRESS_PAYMENTS)
            except report_store.RETRIED as error:
                log.warning("query.completeness_unknown", problem=f"{type(error).__name__}: {error}"[:200])
                self._not_before = time.monotonic() + AGAIN_SECONDS
                return None
