"""The columns of a packed day: all 10-minute reports of one merchant and UTC day, column by column (reports.PACKED_TABLE, Redis).

Each column is bytes of its own, so that a reader moves only those that it needs, and begins with the byte ``FORMAT`` and a uint16 n, the
number of reports, which stand in the order of (window start, currency). All is little-endian. A width is a byte: 0, 1, 2, 3 for signed
integers of 1, 2, 4, 8 bytes, or ``ZEROS`` for none at all, as every one is 0.

- windows: a byte m and the m currencies that there are, ascending, three letters each; n bytes, the number of each report's window in the
  day (0 to 143); and, unless m is 1, n bytes, the place of its currency among them.
- numbers (the counters and the revision together): a byte k and the widths of the k columns; then the columns by descending width, those
  of one width in their order: numpy reads them in one step a width.
- blobs (sketches): the width of the n lengths, and these; the blobs.
- maps (a breakdown): JSON, a list of n objects {value: [payments, gross]} with ascending values: orjson makes them four times as fast
  as any loop over columns of numbers does.

Equal reports give equal bytes (I6). The bytes outlive a process: tests/unit/contracts/packed_day.json holds some that must stay readable.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from millrace_contracts.reports import BREAKDOWNS, PACKED_NUMBERS, SKETCHES
from millrace_contracts.windows import WINDOW_MS

FORMAT = 1
ZEROS = 255
DAY_MS = 86_400_000
WINDOWS = DAY_MS // WINDOW_MS
"""Windows of a UTC day."""
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]
Map = Mapping[str, Sequence[int]]
"""A breakdown: value -> (payments, gross)."""
_HEAD = struct.Struct("<BH")
_TYPES = tuple(np.dtype(f"<i{1 << code}") for code in range(4))
_BOUNDS = tuple((np.iinfo(kind).min, np.iinfo(kind).max) for kind in _TYPES)


class _Run(NamedTuple):
    """Columns of one width, which are stored behind one another as the rows [low, high) of a matrix."""

    low: int
    high: int
    kind: np.dtype[Any]
    places: tuple[int, ...]


class _Layout(NamedTuple):
    """``rows``: the row of each column; those of zeros are the last ones."""

    runs: tuple[_Run, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """Which reports a day has; shared by all who read the same bytes, so that nobody may write them."""

    starts: Ints
    """Epoch ms, ascending."""
    currencies: Texts
    only: str | None
    """The currency of every report, where there is one alone."""


def encode_day(day_ms: int, starts: Ints, currencies: Sequence[str] | Texts, columns: Mapping[str, Any]) -> dict[str, bytes]:
    """Bytes of a whole day, by ``reports.PACKED``; ``columns``: those of ``reports.CONTENT``.

    Raises:
        ValueError: a start is not that of a window of the day, or the reports are not in order.
    """
    found = {"windows": encode_windows(day_ms, starts, currencies), "numbers": encode_numbers([columns[name] for name in PACKED_NUMBERS])}
    found |= {name: encode_maps(columns[name]) for name in BREAKDOWNS}
    return found | {name: encode_blobs(columns[name]) for name in SKETCHES}


def encode_windows(day_ms: int, starts: Ints, currencies: Sequence[str] | Texts) -> bytes:
    """Bytes of which reports there are, by start and currency.

    Raises:
        ValueError: a start is not that of a window of the day, or the reports are not in order.
    """
    places, odd = np.divmod(starts - day_ms, WINDOW_MS)
    names, codes = np.unique(np.asarray(currencies, dtype="<U3"), return_inverse=True)
    keys = places * 256 + codes
    if odd.any() or bool(((places < 0) | (places >= WINDOWS)).any()) or bool((keys[1:] <= keys[:-1]).any()):
        raise ValueError(f"not the windows of the day {day_ms} in the order of start and currency")
    parts = [_head(len(starts)), bytes([len(names)]), "".join(names.tolist()).encode("ascii"), places.astype("u1").tobytes()]
    return b"".join(parts if len(names) == 1 else [*parts, codes.astype("u1").tobytes()])


@lru_cache(2_048)
def decode_windows(day_ms: int, data: bytes) -> Windows:
    """The reports of ``encode_windows``'s bytes: a full day of one currency has always the same ones.

    Raises:
        ValueError: another format.
    """
    count = _count(data)
    names = [data[at : at + 3].decode("ascii") for at in range(4, 4 + 3 * data[3], 3)]
    position = 4 + 3 * len(names)
    starts = day_ms + np.frombuffer(data, "u1", count, position).astype(np.int64) * WINDOW_MS
    if len(names) == 1:
        currencies = np.full(count, names[0], "<U3")
    else:
        currencies = np.array(names or [""], dtype="<U3")[np.frombuffer(data, "u1", count, position + count)]
    starts.flags.writeable = currencies.flags.writeable = False
    return Windows(starts, currencies, names[0] if len(names) == 1 else None)


def encode_numbers(columns: Sequence[Ints]) -> bytes:
    """Bytes of columns of equal length."""
    widths = bytes(_width(column) for column in columns)
    layout = _layout(widths)
    parts = [np.stack([columns[place] for place in run.places]).astype(run.kind).tobytes() for run in layout.runs]
    return b"".join((_head(len(columns[0])), bytes([len(columns)]), widths, *parts))


def decode_numbers(data: bytes) -> list[Ints]:
    """The columns of ``encode_numbers``'s bytes.

    Raises:
        ValueError: another format.
    """
    count, k = _count(data), data[3]
    layout, position = _layout(data[4 : 4 + k]), 4 + k
    whole = np.zeros((k, count), np.int64)
    for low, high, kind, _ in layout.runs:
        size = (high - low) * count
        whole[low:high] = np.frombuffer(data, kind, size, position).reshape(high - low, count)
        position += size * kind.itemsize
    rows = list(whole)
    return [rows[row] for row in layout.rows]


def encode_blobs(blobs: Sequence[bytes]) -> bytes:
    """Bytes of a column of bytes."""
    lengths = np.array([len(blob) for blob in blobs], np.int64)
    code = _width(lengths)
    parts = [bytes([code]), lengths.astype(_TYPES[code]).tobytes()] if code != ZEROS else [bytes([code])]
    return b"".join((_head(len(blobs)), *parts, *blobs))


def decode_blobs(data: bytes) -> list[bytes]:
    """The column of ``encode_blobs``'s bytes.

    Raises:
        ValueError: another format.
    """
    count, code = _count(data), data[_HEAD.size]
    if code == ZEROS:
        return [b""] * count
    position, kind = _HEAD.size + 1, _TYPES[code]
    ends = np.cumsum(np.frombuffer(data, kind, count, position), dtype=np.int64) + position + count * kind.itemsize
    bounds = [position + count * kind.itemsize, *ends.tolist()]
    return [data[low:high] for low, high in pairwise(bounds)]


def encode_maps(maps: Sequence[Map]) -> bytes:
    """Bytes of a column of breakdowns."""
    return _head(len(maps)) + orjson.dumps(maps, option=orjson.OPT_SORT_KEYS)


def decode_maps(data: bytes) -> list[dict[str, list[int]]]:
    """The column of ``encode_maps``'s bytes.

    Raises:
        ValueError: another format.
    """
    _count(data)
    found: list[dict[str, list[int]]] = orjson.loads(memoryview(data)[_HEAD.size :])
    return found


def _head(count: int) -> bytes:
    return _HEAD.pack(FORMAT, count)


def _count(data: bytes) -> int:
    """How many reports a column has."""
    if len(data) < _HEAD.size or data[0] != FORMAT:
        raise ValueError(f"not a column of a packed day of format {FORMAT}: {data[:8].hex() or 'nothing'}")
    return data[1] | data[2] << 8


def _width(column: Ints) -> int:
    low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
    if low == high == 0:
        return ZEROS
    return next(code for code, (least, most) in enumerate(_BOUNDS) if least <= low and high <= most)


@lru_cache(1_024)
def _layout(widths: bytes) -> _Layout:
    """How columns of such widths are stored."""
    runs: list[_Run] = []
    order: list[int] = []
    for code in sorted(set(widths) - {ZEROS}, reverse=True):
        places = tuple(place for place, each in enumerate(widths) if each == code)
        runs.append(_Run(len(order), len(order) + len(places), _TYPES[code], places))
        order += places
    order += (place for place, each in enumerate(widths) if each == ZEROS)
    return _Layout(tuple(runs), tuple(order.index(place) for place in range(len(order))))
