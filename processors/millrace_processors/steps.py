"""How long each step of a micro-batch takes, for the log, the metrics and the benches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

NAMES = ("tally", "append", "extent", "reports", "progress")
"""The steps, in order: count and markers; facts into the lake; which keys and files; reports into the store; how far it has come."""


@dataclass
class Steps:
    """Seconds by step; a step that is entered twice counts both times."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one step."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def rounded(self) -> dict[str, float]:
        """For people."""
        return {name: round(value, 3) for name, value in self.seconds.items()}
