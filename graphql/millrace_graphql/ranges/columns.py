"""Reports of one merchant as columns, and the bytes that Redis keeps of them.

Columns come in groups, so that a question about sums never moves a sketch. Bytes of a group: format byte, uint32 length of a JSON
header {"n", "currencies"}, the header, n int64 window starts, n uint8 indexes into ``currencies``, then each column of the group:
int64 for counters; for sketches n uint32 lengths and the blobs; for breakdowns a uint32 length and a JSON list of n objects.
All little-endian.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from millrace_contracts.reports import BREAKDOWNS, COUNTERS

FORMAT = 1
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]
_LENGTH = struct.Struct("<I")


class Group(StrEnum):
    """Columns that are read and kept together."""

    COUNTERS = "counters"
    BREAKDOWNS = "breakdowns"
    CUSTOMERS = "customers"
    AMOUNTS = "amounts"


COLUMNS: Mapping[Group, tuple[str, ...]] = {
    Group.COUNTERS: (*COUNTERS, "revision"),
    Group.BREAKDOWNS: BREAKDOWNS,
    Group.CUSTOMERS: ("customers",),
    Group.AMOUNTS: ("amounts",),
}
GROUP_OF: Mapping[str, Group] = {column: group for group, columns in COLUMNS.items() for column in columns}


@dataclass(frozen=True)
class Table:
    """One group's columns of n reports. ``values``: int64 arrays for counters, lists of bytes or of dicts for the others."""

    starts: Ints
    currencies: Texts
    values: Mapping[str, Any]
    only: str | None = None
    """The currency of every row, where that is known without a look at each."""

    def between(self, start_ms: int, end_ms: int) -> Table:
        """The reports that start in [start, end); the rows are in time order."""
        starts = self.starts
        if not len(starts) or (starts[0] >= start_ms and starts[-1] < end_ms):
            return self
        low, high = np.searchsorted(starts, [start_ms, end_ms])
        return self._rows(slice(int(low), int(high)))

    def of(self, currency: str) -> Table:
        """The reports of one currency."""
        if self.only == currency:
            return self
        chosen = self.currencies == currency
        return self.where(chosen)

    def where(self, kept: NDArray[np.bool_]) -> Table:
        """The reports that a mask keeps."""
        return self if bool(kept.all()) else self._rows(np.flatnonzero(kept))

    def _rows(self, chosen: slice | NDArray[np.intp]) -> Table:
        def pick(column: Any) -> Any:
            if isinstance(column, np.ndarray):
                return column[chosen]
            return column[chosen] if isinstance(chosen, slice) else [column[row] for row in chosen]

        return Table(self.starts[chosen], self.currencies[chosen], {name: pick(column) for name, column in self.values.items()}, self.only)


Rows = Mapping[Group, Table]
"""What was read: one table for each group asked for. Each carries its own keys, as each may come from another moment."""


def table(group: Group, keys: tuple[Ints, Iterable[str]], values: Mapping[str, Any]) -> Table:
    """A group's table from a wider set of columns."""
    currencies = keys[1] if isinstance(keys[1], np.ndarray) else list(keys[1])
    return Table(keys[0], np.asarray(currencies, dtype="<U3"), {name: values[name] for name in COLUMNS[group]})


def joined(group: Group, tables: list[Table]) -> Table:
    """Several tables of one group, given in time order, as one."""
    if len(tables) == 1:
        return tables[0]
    if not tables:
        empty: dict[str, Any] = {name: np.empty(0, np.int64) if group is Group.COUNTERS else [] for name in COLUMNS[group]}
        return Table(np.empty(0, np.int64), np.empty(0, "<U3"), empty)

    def join(name: str) -> Any:
        parts = [part.values[name] for part in tables]
        return np.concatenate(parts) if group is Group.COUNTERS else [value for part in parts for value in part]

    starts = np.concatenate([part.starts for part in tables])
    return Table(starts, np.concatenate([part.currencies for part in tables]), {name: join(name) for name in COLUMNS[group]})


def in_order(group: Group, tables: list[Table]) -> Table:
    """Several tables of one group, in any order and each in time order, as one in time order."""
    whole = joined(group, tables)
    if len(tables) < 2 or bool((whole.starts[1:] >= whole.starts[:-1]).all()):
        return whole
    return whole._rows(np.argsort(whole.starts, kind="stable"))


def encode(group: Group, data: Table) -> bytes:
    """Bytes of a group's table."""
    names, codes = np.unique(data.currencies, return_inverse=True)
    header = orjson.dumps({"n": len(data.starts), "currencies": names.tolist()})
    parts = [bytes([FORMAT]), _LENGTH.pack(len(header)), header, data.starts.astype("<i8").tobytes(), codes.astype("u1").tobytes()]
    for name in COLUMNS[group]:
        column = data.values[name]
        if group is Group.COUNTERS:
            parts.append(column.astype("<i8").tobytes())
        elif group is Group.BREAKDOWNS:
            text = orjson.dumps(column)
            parts += [_LENGTH.pack(len(text)), text]
        else:
            parts += [np.array([len(blob) for blob in column], "<u4").tobytes(), *column]
    return b"".join(parts)


def decode(group: Group, data: bytes) -> Table:
    """The table of ``encode``'s bytes.

    Raises:
        ValueError: for another format.
    """
    if not data or data[0] != FORMAT:
        raise ValueError(f"not a chunk of format {FORMAT}")
    position = 5 + _LENGTH.unpack_from(data, 1)[0]
    header = _header(data[5:position])
    count, names = header["n"], header["currencies"]
    starts, position = np.frombuffer(data[position : position + 8 * count], "<i8"), position + 8 * count
    codes, position = np.frombuffer(data, "u1", count, position), position + count
    only = names[0] if len(names) == 1 else None
    currencies = _alike(only, count) if only is not None else np.asarray(names or [""], dtype="<U3")[codes]
    if group is Group.COUNTERS:
        # A copy of its own is aligned, and a row of a matrix is a column of the group.
        whole = np.frombuffer(data[position:], "<i8", count * len(COLUMNS[group])).reshape(len(COLUMNS[group]), count)
        return Table(starts, currencies, dict(zip(COLUMNS[group], whole, strict=True)), only)
    values: dict[str, Any] = {}
    for name in COLUMNS[group]:
        values[name], position = _column(group, data, count, position)
    return Table(starts, currencies, values, only)


@lru_cache(1_024)
def _alike(currency: str, count: int) -> Texts:
    """So many rows of one currency, for all who have as many."""
    found = np.full(count, currency, "<U3")
    found.flags.writeable = False
    return found


@lru_cache(1_024)
def _header(text: bytes) -> Any:
    """The header's object, which nobody may change: a full day of one currency has always the same."""
    return orjson.loads(text)


def _column(group: Group, data: bytes, count: int, position: int) -> tuple[Any, int]:
    if group is Group.BREAKDOWNS:
        end = position + 4 + _LENGTH.unpack_from(data, position)[0]
        return orjson.loads(data[position + 4 : end]), end
    ends = np.cumsum(np.frombuffer(data, "<u4", count, position)) + position + 4 * count
    bounds = [position + 4 * count, *ends.tolist()]
    return [data[low:high] for low, high in itertools.pairwise(bounds)], bounds[-1]
