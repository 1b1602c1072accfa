"""Arrow batches cut so that no fact is split between two of them, and the whole reports of what they hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from millrace_processors import reports, rollups
from millrace_processors.arranging import FACT_BITS, numbers, settled
from millrace_processors.facts import KEY
from millrace_processors.reports import Reports, starts_of
from millrace_processors.rollups import Piece

_FACT = (*KEY, "fact_id")


def whole_reports(batches: Iterator[pa.RecordBatch], window: str = "window_start") -> Iterator[tuple[Reports, int]]:
    """Whole reports of sorted facts (by ``arranging.ORDER``, or exactly), and how many facts have been read for them.

    What is held at a time is two batches and one report, however many facts a key has: the parts of a key are merged.
    """
    rows = 0

    def pieces() -> Iterator[Piece]:
        nonlocal rows
        for batch in whole_facts(batches):
            rows += batch.num_rows
            yield _piece(batch, window)

    for found in rollups.whole_windows(pieces()):
        yield found, rows
        rows = 0


def whole_facts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in the same order; the end of a batch waits for what the next one adds to its last fact."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        head = _head(waiting[-1], batch) if waiting else 0
        if waiting and not head:
            yield _joined(waiting)
            waiting = []
        if waiting and len(waiting) == 1 and (cut := _tail(waiting[0])):
            # Only the last fact is copied.
            yield waiting[0].slice(0, cut)
            waiting = [waiting[0].slice(cut)]
        if waiting and head < batch.num_rows:
            yield _joined([*waiting, batch.slice(0, head)])
            waiting, batch = [], batch.slice(head)
        waiting.append(batch)
    if waiting:
        yield _joined(waiting)


def _piece(batch: pa.RecordBatch, window: str) -> Piece:
    exact = settled(batch)
    found, order = reports.compute(exact, window), numbers(exact)
    if order is None:
        key = [(found.merchants[at], int(found.window_ms[at]), found.currencies[at]) for at in (0, -1)]
        return Piece(found, key[0], 1, key[1], 1)
    run = order >> FACT_BITS
    ends = int(np.searchsorted(run, run[0], side="right")), int(np.searchsorted(run, run[-1]))
    head, tail = (int(starts_of(part, KEY).sum()) for part in (exact.slice(0, ends[0]), exact.slice(ends[1])))
    return Piece(found, int(run[0]), head, int(run[-1]), tail)


def _head(before: pa.RecordBatch, after: pa.RecordBatch) -> int:
    """How many rows at the start of a batch belong to the last fact of the one before it."""
    last, order = numbers(before), numbers(after)
    if last is not None and order is not None:
        return int(np.searchsorted(order, last[-1], side="right"))
    if any(before.column(name)[-1] != after.column(name)[0] for name in _FACT):
        return 0
    starts = np.flatnonzero(starts_of(after, _FACT))
    return int(starts[1]) if len(starts) > 1 else after.num_rows


def _tail(batch: pa.RecordBatch) -> int:
    """Where the last fact of a batch begins."""
    order = numbers(batch)
    if order is not None:
        return int(np.searchsorted(order, order[-1]))
    return int(np.flatnonzero(starts_of(batch, _FACT))[-1])


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
