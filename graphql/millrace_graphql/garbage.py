"""Short pauses of Python's garbage collector.

A full collection walks every object there is: 70 ms with the schema and some thousand kept answers, in which nobody is answered.
What is there once the application has started is therefore set aside, and so is what survives a full collection, so that the next
one walks only what is new. Objects that are in no cycle are freed as ever. Every so often all are walked, for cycles among the old.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from millrace_graphql.observability import PAUSES

FULL_EVERY = 200
"""Of so many full collections one walks what was set aside too."""


@contextmanager
def short_pauses() -> Iterator[None]:
    """Set aside what is old while this is open."""
    aside = _Aside()
    gc.collect()
    gc.freeze()
    gc.callbacks.append(aside)
    try:
        yield
    finally:
        gc.callbacks.remove(aside)
        gc.unfreeze()


class _Aside:
    def __init__(self) -> None:
        self._began = 0.0
        self._collections = 0

    def __call__(self, phase: str, info: Mapping[str, Any]) -> None:
        if info["generation"] != 2:
            return
        if phase == "start":
            self._began = time.perf_counter()
            return
        PAUSES.observe(time.perf_counter() - self._began)
        self._collections += 1
        if self._collections % FULL_EVERY:
            gc.freeze()
        else:
            gc.unfreeze()
