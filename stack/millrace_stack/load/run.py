"""Send a load at a rate or as fast as possible, and count what became of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from millrace_stack.load.client import Answer, CollectionClient, Line
from millrace_stack.load.lanes import Lanes
from millrace_stack.load.traffic import Traffic


@dataclass(frozen=True)
class Pace:
    """How to send. ``rate`` is commands a second, None as fast as possible; ``batch`` above 1 uses the bulk endpoint."""

    seconds: float
    rate: float | None = None
    lanes: int = 4
    batch: int = 1


@dataclass
class Tally:
    """Counts of one load; latencies are seconds of one request each."""

    started: float = field(default_factory=time.monotonic)
    commands: int = 0
    written: int = 0
    repeated: int = 0
    retries: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answers: list[Answer], retries: int, latency: float) -> None:
        """Count the answers of one request."""
        with self._lock:
            self.commands += len(answers)
            self.retries += retries
            self.latencies.append(latency)
            for answer in answers:
                if answer.status == 201:
                    self.written += 1
                elif answer.status == 200:
                    self.repeated += 1
                else:
                    self.refused[f"{answer.status} {answer.error}"[:120]] += 1

    def summary(self) -> dict[str, Any]:
        """For people and ``--json``; latencies in milliseconds."""
        with self._lock:
            ordered = sorted(self.latencies)
            seconds = self.seconds or time.monotonic() - self.started
            return {
                "seconds": round(seconds, 3),
                "commands": self.commands,
                "ratePerSecond": round(self.commands / seconds, 1) if seconds else 0.0,
                "written": self.written,
                "repeated": self.repeated,
                "refused": sum(self.refused.values()),
                "errors": dict(self.refused),
                "retries": self.retries,
                "latencyMs": {name: _quantile(ordered, q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))},
            }


def _quantile(ordered: list[float], q: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000, 2) if ordered else None


def run(
    client: Callable[[], CollectionClient],
    traffic: Traffic,
    pace: Pace,
    stopped: threading.Event,
    tally: Tally,
    tick: Callable[[Tally], None],
) -> Tally:
    """Send until the time is over or ``stopped`` is set; ``tick`` is called a few times a second.

    Raises:
        StackError: the API stayed away.
    """
    clients = [client() for _ in range(pace.lanes)]

    def send(lane: int, lines: list[Line]) -> None:
        began = time.monotonic()
        outcome = clients[lane].single(lines[0]) if pace.batch == 1 else clients[lane].bulk(lines)
        tally.add(outcome.answers, outcome.retries, time.monotonic() - began)

    lanes = Lanes(send, pace.lanes, pace.batch, stopped)
    try:
        tally.started = began = time.monotonic()
        ticked = began
        for number, line in enumerate(traffic.commands()):
            now = time.monotonic()
            due = began + number / pace.rate if pace.rate else now
            if max(now, due) - began >= pace.seconds or stopped.is_set():
                break
            if now - ticked > 0.25:
                tick(tally)
                ticked = now
            if due > now and stopped.wait(due - now):
                break
            if not lanes.put(line):
                break
        lanes.drain()
    finally:
        tally.seconds = time.monotonic() - began
        for each in clients:
            each.close()
    return tally
