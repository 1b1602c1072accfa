"""Breakdowns of a report as Cassandra's bytes of ``frozen<map<text, frozen<tuple<bigint, bigint>>>>``.

A map is an int32 count of entries, then for each an int32 length and the key, an int32 length and the value; a tuple is for each element
an int32 length and its bytes (native protocol v5, section 6). Entries stand in the order of their keys' bytes, as Cassandra sorts them.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_VALUE = np.dtype([("length", ">i4"), ("n", ">i4"), ("count", ">i8"), ("s", ">i4"), ("sum", ">i8")])
_LENGTH = struct.Struct(">i")
_HALF_BITS = 26
_HALF = (1 << _HALF_BITS) - 1
ROOMY = 8
"""Slots for each payment up to which it is quicker to count into all of them than to sort the payments."""


def breakdown(names: list[bytes], ranks: Ints, group: Ints, amounts: Ints, n: int) -> list[bytes]:
    """value -> (payments, sum of amounts) for each of n groups, from payments sorted by group.

    ``names``: the values that there are, in order; ``ranks``: the place of each payment's value among them.
    """
    if not len(ranks):
        return [_LENGTH.pack(0)] * n
    keys = [_LENGTH.pack(len(name)) + name for name in names]
    width = len(names)
    slots = group * width + ranks
    found, counts, sums = (_counted if n * width <= ROOMY * len(slots) else _sorted)(slots, amounts, n * width)
    cells = np.empty(len(found), dtype=_VALUE)
    cells["length"], cells["n"], cells["s"] = _VALUE.itemsize - 4, 8, 8
    cells["count"], cells["sum"] = counts, sums
    return _maps(keys, found // width, found % width, cells.tobytes(), n)


def _counted(slots: Ints, amounts: Ints, most: int) -> tuple[Ints, Ints, Ints]:
    """(slots that occur, how often, sum of their amounts), by counting.

    ``bincount`` adds up floats, which are exact below 2^53: amounts go in as two halves, each of which stays below for 2^26 payments.
    """
    counts = np.bincount(slots, minlength=most)
    low = np.bincount(slots, amounts & _HALF, minlength=most).astype(np.int64)
    high = np.bincount(slots, amounts >> _HALF_BITS, minlength=most).astype(np.int64)
    found = np.flatnonzero(counts)
    return found, counts[found], ((high << _HALF_BITS) + low)[found]


def _sorted(slots: Ints, amounts: Ints, most: int) -> tuple[Ints, Ints, Ints]:
    """The same by sorting, where most slots would stay empty."""
    arranged = np.argsort(slots, kind="stable")
    sorted_slots = slots[arranged]
    first = np.flatnonzero(np.diff(sorted_slots, prepend=-1))
    return sorted_slots[first], np.diff(first, append=len(slots)), np.add.reduceat(amounts[arranged], first)


def _maps(keys: list[bytes], groups: Ints, ranks: Ints, data: bytes, n: int) -> list[bytes]:
    size = _VALUE.itemsize
    entries = [keys[rank] + data[at : at + size] for rank, at in zip(ranks.tolist(), range(0, len(data), size), strict=True)]
    bounds = np.searchsorted(groups, np.arange(n + 1)).tolist()
    maps = []
    for row in range(n):
        low, high = bounds[row], bounds[row + 1]
        maps.append(_LENGTH.pack(high - low) + b"".join(entries[low:high]))
    return maps
