"""Arrow batches cut so that no key is split between two of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from millrace_processors.facts import KEY
from millrace_processors.reports import starts_of


def whole_keys(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in the same order; the last key of a batch waits for what the next one adds to it."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        last_key = int(np.flatnonzero(starts_of(batch, KEY))[-1])
        if last_key == 0 and (not waiting or _goes_on(waiting[-1], batch)):
            waiting.append(batch)
            continue
        yield _joined([*waiting, batch.slice(0, last_key)])
        waiting = [batch.slice(last_key)]
    if waiting:
        yield _joined(waiting)


def _goes_on(before: pa.RecordBatch, after: pa.RecordBatch) -> bool:
    """Whether the last row of one batch and the first of the next have the same key."""
    return all(before.column(name)[-1] == after.column(name)[0] for name in KEY)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
