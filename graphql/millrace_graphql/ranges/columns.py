"""Reports of one merchant as columns, and the bytes that Redis keeps of a UTC day of them.

Columns come in groups, so that a question about sums never moves a sketch. Bytes of a group are columns of a packed day
(millrace_contracts.packed), each with its length before (uint32, little-endian): the windows, and those of the group.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_contracts import packed
from millrace_contracts.reports import BREAKDOWNS, PACKED_NUMBERS

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
    Group.COUNTERS: PACKED_NUMBERS,
    Group.BREAKDOWNS: BREAKDOWNS,
    Group.CUSTOMERS: ("customers",),
    Group.AMOUNTS: ("amounts",),
}
PACKED_COLUMNS: Mapping[Group, tuple[str, ...]] = {**COLUMNS, Group.COUNTERS: ("numbers",)}
"""The columns of a packed day that hold a group, beside its windows."""
GROUP_OF: Mapping[str, Group] = {column: group for group, columns in COLUMNS.items() for column in columns}


@dataclass(slots=True)
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


def encode(group: Group, day_ms: int, data: Table) -> bytes:
    """Bytes of a group's table of one UTC day.

    Raises:
        ValueError: a report is not of the day.
    """
    columns = [data.values[name] for name in COLUMNS[group]]
    parts = [packed.encode_windows(day_ms, data.starts, data.currencies)]
    if group is Group.COUNTERS:
        parts.append(packed.encode_numbers(columns))
    else:
        parts += [(packed.encode_maps if group is Group.BREAKDOWNS else packed.encode_blobs)(column) for column in columns]
    return b"".join(chain.from_iterable((_LENGTH.pack(len(part)), part) for part in parts))


def decode(group: Group, day_ms: int, data: bytes) -> Table:
    """The table of ``encode``'s bytes.

    Raises:
        ValueError: another format.
    """
    parts, position = [], 0
    while position < len(data):
        first = position + _LENGTH.size
        position = first + _LENGTH.unpack_from(data, position)[0]
        parts.append(data[first:position])
    return unpacked(group, day_ms, parts)


def unpacked(group: Group, day_ms: int, parts: Sequence[bytes]) -> Table:
    """The table of a packed day's columns: the windows, and then ``PACKED_COLUMNS`` of the group.

    Raises:
        ValueError: another format.
    """
    windows, *columns = parts
    keys = packed.decode_windows(day_ms, windows)
    found: Iterable[Any]
    if group is Group.COUNTERS:
        found = packed.decode_numbers(columns[0])
    else:
        found = map(packed.decode_maps if group is Group.BREAKDOWNS else packed.decode_blobs, columns)
    return Table(keys.starts, keys.currencies, dict(zip(COLUMNS[group], found, strict=True)), keys.only)
