"""Who runs next: tenants take turns, however many jobs each has waiting; a held tenant has none. Thread-safe, nothing but memory."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from millrace_processors.query.errors import BusyError

RETRY_SECONDS = 10


@dataclass(frozen=True)
class Bounds:
    """How many jobs may run and wait."""

    running_per_tenant: int
    queued_per_tenant: int
    queued: int


class FairQueue:
    """Round robin over tenants; within one, first come, first served."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds, self._clock = bounds, clock
        self._held: dict[str, float] = {}
        self._waiting: OrderedDict[str, deque[str]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """Jobs that wait."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def add(self, tenant: str, job: str) -> None:
        """Put a job at the end of its tenant's line.

        Raises:
            BusyError: the tenant's line, or all of them together, are full.
        """
        with self._changed:
            line = self._waiting.get(tenant, ())
            if len(line) >= self._bounds.queued_per_tenant:
                raise BusyError(
                    f"{len(line)} of your queries wait already; ask again when one is done, or cancel one", retryAfter=RETRY_SECONDS
                )
            if sum(map(len, self._waiting.values())) >= self._bounds.queued:
                raise BusyError("the service has as many queries waiting as it takes; ask again in a while", retryAfter=RETRY_SECONDS * 3)
            self._append(tenant, job)

    def restore(self, tenant: str, job: str) -> None:
        """Put back a job that was taken in before; no bound refuses it."""
        with self._changed:
            self._append(tenant, job)

    def _append(self, tenant: str, job: str) -> None:
        self._waiting.setdefault(tenant, deque()).append(job)
        self._changed.notify()

    def hold(self, tenant: str, seconds: float) -> None:
        """Start no job of the tenant for so long; its line may grow meanwhile."""
        with self._changed:
            self._held[tenant] = self._clock() + seconds
            self._changed.notify_all()

    def take(self) -> tuple[str, str] | None:
        """(tenant, job) of the next job that may run, waiting for one; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                self._held = {tenant: until for tenant, until in self._held.items() if until > now}
                for tenant, line in self._waiting.items():
                    if tenant not in self._held and self._running[tenant] < self._bounds.running_per_tenant:
                        return tenant, self._start(tenant, line)
                self._changed.wait(min(self._held.values()) - now if self._held else None)
            return None

    def _start(self, tenant: str, line: deque[str]) -> str:
        job = line.popleft()
        self._running[tenant] += 1
        del self._waiting[tenant]
        if line:
            # Behind the others: that is what makes the turns.
            self._waiting[tenant] = line
        return job

    def done(self, tenant: str) -> None:
        """A job that was taken has ended."""
        with self._changed:
            self._running[tenant] -= 1
            if self._running[tenant] <= 0:
                del self._running[tenant]
            self._changed.notify_all()

    def remove(self, tenant: str, job: str) -> bool:
        """Take a waiting job out; whether it still waited."""
        with self._changed:
            line = self._waiting.get(tenant)
            if line is None or job not in line:
                return False
            line.remove(job)
            if not line:
                del self._waiting[tenant]
            return True

    def close(self) -> None:
        """Let every ``take`` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
