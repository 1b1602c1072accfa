"""The loop: portions from a source into transactions of a sink."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from millrace_cdc.audit import Counts, merge
from millrace_cdc.errors import RelayError, SourceLost
from millrace_cdc.portions import Portion, Sink, Source


class Stop(Protocol):
    """What the loop looks at to know that it should end."""

    @property
    def is_set(self) -> bool:
        """Whether a stop was asked for."""


@dataclass(frozen=True)
class Pace:
    """When a transaction is due: small and prompt while nothing waits, large in a backlog, chosen by itself."""

    events: int
    backlog_seconds: float
    linger_seconds: float
    idle_seconds: float

    def due(self, count: int, age: float, backlog: bool) -> bool:
        """Whether a transaction of so many messages and seconds should be committed."""
        if count >= self.events or age >= self.backlog_seconds:
            return True
        return count > 0 and not backlog and age >= self.linger_seconds

    def patience(self, count: int, age: float, backlog: bool) -> float:
        """How long to wait for the next portion, in seconds."""
        if count == 0:
            return max(0.01, self.idle_seconds - age)
        return max(0.0, (self.backlog_seconds if backlog else self.linger_seconds) - age)


@dataclass
class Committed:
    """What a committed transaction held, told to the observer."""

    events: int
    dead_letters: int
    event_bytes: int
    seconds: float
    """How long the transaction was open, with its commit."""
    progress: dict[str, bytes | None]
    cluster_seconds: int | None
    caught_up: bool


class Pump:
    """Moves portions; ``observe`` is told every commit, ``idle`` that nothing waits."""

    def __init__(
        self,
        sink: Sink,
        pace: Pace,
        stop: Stop,
        observe: Callable[[Committed], None],
        idle: Callable[[], None],
        make_marker: Callable[[int], bytes],
        make_audit: Callable[[Counts], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._pace = pace
        self._stop = stop
        self._observe = observe
        self._idle = idle
        self._make_marker = make_marker
        self._make_audit = make_audit
        self._clock = clock
        self._clear()

    def _clear(self) -> None:
        self._open = False
        self._opened_at = 0.0
        self._events = self._dead_letters = self._bytes = 0
        self._progress: dict[str, bytes | None] = {}
        self._counts: Counts = {}
        self._through_ms: int | None = None
        self._cluster_seconds: int | None = None

    def run(self, source: Source) -> None:
        """Move everything until the source is finished or a stop is asked for; what is in hand is committed before returning.

        Raises:
            SourceLost: after what came before was committed.
            TransactionAborted: what was in hand is not visible.
            RelayError: the relay must end; the open transaction was given up.
        """
        self._clear()
        while not (self._stop.is_set or source.finished):
            try:
                portion = source.take(self._pace.patience(self._count, self._age, source.backlog))
            except (SourceLost, RelayError):
                self._leave()
                raise
            if portion is not None:
                self._add(portion)
            elif not (self._open or source.backlog):
                self._idle()
            if self._open and self._is_due(source):
                self._commit(not source.backlog)
        self._leave()

    @property
    def _count(self) -> int:
        return self._events + self._dead_letters

    @property
    def _age(self) -> float:
        return self._clock() - self._opened_at if self._open else 0.0

    def _is_due(self, source: Source) -> bool:
        if self._count == 0:
            return self._age >= self._pace.idle_seconds
        return self._pace.due(self._count, self._age, source.backlog)

    def _add(self, portion: Portion) -> None:
        if not self._open:
            self._sink.begin()
            self._open, self._opened_at = True, self._clock()
        self._sink.produce(portion)
        self._events += len(portion.events)
        self._dead_letters += len(portion.dead_letters)
        self._bytes += portion.bytes
        self._progress.update(portion.progress)
        merge(self._counts, portion.counts)
        self._through_ms = portion.through_ms if portion.through_ms is not None else self._through_ms
        self._cluster_seconds = portion.cluster_seconds or self._cluster_seconds

    def _leave(self) -> None:
        if self._open:
            self._commit(False)

    def _commit(self, caught_up: bool) -> None:
        marker = None if self._through_ms is None else self._make_marker(self._through_ms)
        audit = self._make_audit(self._counts) if self._counts else None
        self._sink.commit(self._progress, marker, audit)
        seconds = self._clock() - self._opened_at
        done = Committed(self._events, self._dead_letters, self._bytes, seconds, self._progress, self._cluster_seconds, caught_up)
        self._clear()
        self._observe(done)
