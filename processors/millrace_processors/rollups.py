"""Hours and days: merges of 10-minute reports, and the pieces of them that a stream of batches brings; pure.

``reports.compute`` gives the merge of what one batch holds; a longer window that stands in several batches comes in pieces, whose
merge is ``merged``: sums, extremes, maps and sketches. Merging is associative, so that the bytes are the same however it was cut (I6).
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from datasketches import compact_theta_sketch, theta_union

from millrace_contracts import sketches
from millrace_contracts.reports import BREAKDOWNS, COUNTERS
from millrace_processors.reports import Reports

_COUNT = struct.Struct(">i")
_VALUE = struct.Struct(">iiqiq")
"""A tuple of two bigints as breakdowns.py writes it: its length, then each with its own."""


@dataclass(frozen=True)
class Piece:
    """Reports sorted by run, of which the last run may go on in the next piece; a run is one key in nearly all cases.

    ``first`` and ``last`` name the runs at both ends, ``head`` and ``tail`` say of how many reports they are.
    """

    reports: Reports
    first: Hashable
    head: int
    last: Hashable
    tail: int


def whole_windows(pieces: Iterator[Piece]) -> Iterator[Reports]:
    """Whole reports, each key once; as few pieces as before."""
    ready: Reports | None = None
    waiting: Reports | None = None
    run: Hashable = None
    for piece in pieces:
        found = piece.reports
        if waiting is not None and piece.first == run:
            merged = merged_runs([_by_key(joined([waiting, part(found, 0, piece.head)]))])
            if piece.head == len(found):
                waiting = merged
                continue
            found = joined([merged, part(found, piece.head, len(found))])
        elif waiting is not None:
            found = joined([waiting, found])
        cut = len(found) - piece.tail
        if cut:
            if ready is not None:
                yield ready
            ready = part(found, 0, cut)
        waiting, run = part(found, cut, len(found)), piece.last
    if waiting is not None:
        yield waiting if ready is None else joined([ready, waiting])


def _by_key(reports: Reports) -> Reports:
    """A few reports in the order of their keys."""
    keys = list(zip(reports.merchants, reports.window_ms.tolist(), reports.currencies, strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if order == list(range(len(keys))):
        return reports
    return joined([part(reports, at, at + 1) for at in order])


def merged_runs(pieces: Sequence[Reports]) -> Reports:
    """Reports in which those with one key stand together, as one for each key."""
    together = joined(pieces)
    keys = list(zip(together.merchants, together.window_ms.tolist(), together.currencies, strict=True))
    firsts = [row for row, key in enumerate(keys) if row == 0 or key != keys[row - 1]]
    if len(firsts) == len(keys):
        return together
    return _merged(together, np.array(firsts, dtype=np.int64))


def joined(pieces: Sequence[Reports]) -> Reports:
    """Reports behind one another."""
    return Reports(
        merchants=list(chain.from_iterable(each.merchants for each in pieces)),
        window_ms=np.concatenate([each.window_ms for each in pieces]),
        currencies=list(chain.from_iterable(each.currencies for each in pieces)),
        counters={name: np.concatenate([each.counters[name] for each in pieces]) for name in COUNTERS},
        breakdowns={name: list(chain.from_iterable(each.breakdowns[name] for each in pieces)) for name in BREAKDOWNS},
        customers=list(chain.from_iterable(each.customers for each in pieces)),
        amounts=list(chain.from_iterable(each.amounts for each in pieces)),
        revision=np.concatenate([each.revision for each in pieces]),
    )


def part(reports: Reports, low: int, high: int) -> Reports:
    """The reports from one place up to another."""
    return Reports(
        merchants=reports.merchants[low:high],
        window_ms=reports.window_ms[low:high],
        currencies=reports.currencies[low:high],
        counters={name: values[low:high] for name, values in reports.counters.items()},
        breakdowns={name: values[low:high] for name, values in reports.breakdowns.items()},
        customers=reports.customers[low:high],
        amounts=reports.amounts[low:high],
        revision=reports.revision[low:high],
    )


def chosen(reports: Reports, rows: list[int]) -> Reports:
    """The reports at some places."""
    return Reports(
        merchants=[reports.merchants[row] for row in rows],
        window_ms=reports.window_ms[rows],
        currencies=[reports.currencies[row] for row in rows],
        counters={name: values[rows] for name, values in reports.counters.items()},
        breakdowns={name: [values[row] for row in rows] for name, values in reports.breakdowns.items()},
        customers=[reports.customers[row] for row in rows],
        amounts=[reports.amounts[row] for row in rows],
        revision=reports.revision[rows],
    )


def _merged(reports: Reports, firsts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Reports:
    bounds = [*firsts.tolist(), len(reports)]
    spans = list(pairwise(bounds))
    sums = {name: np.add.reduceat(reports.counters[name], firsts) for name in COUNTERS}
    paid, none = reports.counters["payments"] > 0, np.iinfo(np.int64).max
    smallest = np.minimum.reduceat(np.where(paid, reports.counters["smallest"], none), firsts)
    extremes = {
        "smallest": np.where(smallest == none, 0, smallest),
        "largest": np.maximum.reduceat(reports.counters["largest"], firsts),
    }
    return Reports(
        merchants=[reports.merchants[low] for low, _ in spans],
        window_ms=reports.window_ms[firsts],
        currencies=[reports.currencies[low] for low, _ in spans],
        counters=sums | extremes,
        breakdowns={name: [merged_maps(reports.breakdowns[name][low:high]) for low, high in spans] for name in BREAKDOWNS},
        customers=[merged_customers(reports.customers[low:high]) for low, high in spans],
        amounts=[sketches.merge(reports.amounts[low:high]) for low, high in spans],
        revision=np.add.reduceat(reports.revision, firsts),
    )


def merged_maps(maps: Sequence[bytes]) -> bytes:
    """The sum of encoded breakdowns (see breakdowns.py)."""
    if len(maps) == 1:
        return maps[0]
    sums: dict[bytes, tuple[int, int]] = {}
    for data in maps:
        for name, (count, total) in entries(data).items():
            known = sums.get(name, (0, 0))
            sums[name] = known[0] + count, known[1] + total
    size = _VALUE.size - _COUNT.size
    cells = (_COUNT.pack(len(name)) + name + _VALUE.pack(size, 8, count, 8, total) for name, (count, total) in sorted(sums.items()))
    return _COUNT.pack(len(sums)) + b"".join(cells)


def entries(data: bytes) -> dict[bytes, tuple[int, int]]:
    """An encoded breakdown: value -> (payments, sum of amounts)."""
    found, at = {}, _COUNT.size
    for _ in range(_COUNT.unpack_from(data)[0]):
        (length,) = _COUNT.unpack_from(data, at)
        name = data[at + _COUNT.size : at + _COUNT.size + length]
        at += _COUNT.size + length
        _, _, count, _, total = _VALUE.unpack_from(data, at)
        at += _VALUE.size
        found[name] = count, total
    return found


def merged_customers(blobs: Sequence[bytes]) -> bytes:
    """The union of customer sketches."""
    if len(blobs) == 1:
        return blobs[0]
    union = theta_union(sketches.THETA_LG_K)
    for data in blobs:
        union.update(compact_theta_sketch.deserialize(data))
    return bytes(union.get_result(True).serialize())
