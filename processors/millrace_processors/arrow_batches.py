"""Arrow batches cut so that no key is split between two of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from millrace_processors.facts import KEY
from millrace_processors.reports import starts_of


def whole_keys(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in the same order; a batch waits for what the next one adds to its last key."""
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
    """How many rows at the start of a batch belong to the last key of the one before it."""
    if any(before.column(name)[-1] != after.column(name)[0] for name in KEY):
        return 0
    starts = np.flatnonzero(starts_of(after, KEY))
    return int(starts[1]) if len(starts) > 1 else after.num_rows


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
