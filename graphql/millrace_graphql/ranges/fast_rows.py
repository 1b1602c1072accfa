"""Reading Cassandra's answer as columns in one step where every cell of a column has one size, as counters and currencies have.

A cell is an int32 length and its bytes (native protocol, section 4.2.5.2), so that rows without a null lie at equal distances.
Anything else goes the driver's own way.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from cassandra.cqltypes import LongType, UTF8Type
from cassandra.protocol import ProtocolHandler
from numpy.typing import NDArray

FEWEST_ROWS = 16
"""Below this the driver's own way is as quick."""
CURRENCY_BYTES = 3
_LENGTH = 4
_Parent: Any = ProtocolHandler.message_types_by_opcode[0x08]
"""The driver's compiled reader of RESULT messages."""


class ColumnsMessage(_Parent):  # type: ignore[misc]
    """A RESULT message whose rows may be a structured array."""

    def recv_results_rows(self, f: Any, *more: Any) -> None:
        """Read the rows; ``f`` stands at the metadata."""
        start = f.tell()
        self.recv_results_metadata(f, more[1])
        metadata = self.column_metadata or more[2]
        names, types = [column[2] for column in metadata], [column[3] for column in metadata]
        rows = _fixed(f.read(), names, types)
        if rows is None:
            f.seek(start)
            super().recv_results_rows(f, *more)
            return
        self.column_names, self.column_types, self.parsed_rows = names, types, rows


class _Run(NamedTuple):
    """Neighbouring columns whose cells have one size: what numpy looks at in one step."""

    offset: int
    size: int
    names: tuple[str, ...]


class _Layout(NamedTuple):
    """Where the cells of a row lie."""

    form: np.dtype[np.void]
    runs: tuple[_Run, ...]


def _fixed(content: bytes, names: list[str], types: list[Any]) -> NDArray[np.void] | None:
    """The rows as an array of one field a column, or None where they do not lie at equal distances."""
    count = int.from_bytes(content[:4], "big")
    if count < FEWEST_ROWS:
        return None
    layout = _layout(tuple(names), tuple(types))
    if layout is None or len(content) - 4 != count * layout.form.itemsize:
        return None
    for run in layout.runs:
        steps = (layout.form.itemsize, _LENGTH + run.size)
        lengths = np.ndarray((count, len(run.names)), ">i4", content, 4 + run.offset, steps)
        if not (lengths == run.size).all():
            return None
    return np.frombuffer(content, layout.form, count, 4)


@lru_cache(256)
def _layout(names: tuple[str, ...], types: tuple[Any, ...]) -> _Layout | None:
    """The layout of rows without a null whose texts are currencies; None where a column is of another type."""
    if not all(issubclass(kind, LongType | UTF8Type) for kind in types):
        return None
    sizes = [8 if issubclass(kind, LongType) else CURRENCY_BYTES for kind in types]
    fields: list[tuple[str, str]] = []
    runs: list[_Run] = []
    offset = 0
    for size, group in groupby(zip(sizes, names, strict=True), key=lambda pair: pair[0]):
        found = tuple(name for _, name in group)
        runs.append(_Run(offset, size, found))
        for name in found:
            fields += [(f"{name} length", ">i4"), (name, ">i8" if size == 8 else f"S{size}")]
        offset += len(found) * (_LENGTH + size)
    return _Layout(np.dtype(fields), tuple(runs))


def columns(rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """The columns by name: int64, or text of three characters. Neighbouring numbers are turned round together."""
    found: dict[str, NDArray[Any]] = {}
    for offset, size, names in _runs(rows.dtype):
        if size == CURRENCY_BYTES:
            found.update((name, _texts(rows, offset + number * (_LENGTH + size))) for number, name in enumerate(names))
            continue
        steps = (_LENGTH + size, rows.dtype.itemsize)
        whole = np.ndarray((len(names), len(rows)), ">i8", rows, _LENGTH + offset, steps).astype(np.int64, order="C")
        found.update(zip(names, whole, strict=True))
    return found


def _texts(rows: NDArray[np.void], offset: int) -> NDArray[np.str_]:
    """A column of currencies: letters of ASCII, of which numpy's own text has four bytes each."""
    letters = np.ndarray((len(rows), CURRENCY_BYTES), "u1", rows, _LENGTH + offset, (rows.dtype.itemsize, 1))
    found: NDArray[np.str_] = letters.astype(np.uint32).view(f"U{CURRENCY_BYTES}")[:, 0]
    return found


@lru_cache(256)
def _runs(form: np.dtype[np.void]) -> tuple[_Run, ...]:
    """The runs of a layout, from its fields: a length and a value a column."""
    names = (form.names or ())[1::2]
    layout = _layout(names, tuple(LongType if form[name].kind == "i" else UTF8Type for name in names))
    assert layout is not None
    return layout.runs


class ColumnsHandler(ProtocolHandler):  # type: ignore[misc]
    """The driver's protocol with ``ColumnsMessage``; give it to a session as ``client_protocol_handler``."""

    message_types_by_opcode = {**ProtocolHandler.message_types_by_opcode, 0x08: ColumnsMessage}  # noqa: RUF012 - the driver's
