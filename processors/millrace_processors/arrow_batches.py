"""Arrow batches cut so that no fact is split between two of them, and the whole reports of what they hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from millrace_processors import reports, rollups
from millrace_processors.facts import KEY
from millrace_processors.reports import Reports, starts_of

_FACT = (*KEY, "fact_id")


def whole_reports(batches: Iterator[pa.RecordBatch], window: str = "window_start") -> Iterator[tuple[Reports, int]]:
    """Whole reports of sorted facts, and how many facts have been read for them.

    What is held at a time is one batch and one report, however many facts a key has: the parts of a key are merged.
    """
    rows = 0

    def parts() -> Iterator[Reports]:
        nonlocal rows
        for batch in whole_facts(batches):
            rows += batch.num_rows
            yield reports.compute(batch, window)

    for found in rollups.whole_windows(parts()):
        yield found, rows
        rows = 0


def whole_facts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in the same order; a batch waits for what the next one adds to its last fact."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        head = _head(waiting[-1], batch) if waiting else 0
        if head == batch.num_rows or not waiting:
            waiting.append(batch)
            continue
        yield _joined([*waiting, batch.slice(0, head)])
        waiting = [batch.slice(head)]
    if waiting:
        yield _joined(waiting)


def _head(before: pa.RecordBatch, after: pa.RecordBatch) -> int:
    """How many rows at the start of a batch belong to the last fact of the one before it."""
    if any(before.column(name)[-1] != after.column(name)[0] for name in _FACT):
        return 0
    starts = np.flatnonzero(starts_of(after, _FACT))
    return int(starts[1]) if len(starts) > 1 else after.num_rows


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
