"""Reading Cassandra's answer as columns in one step where every cell of a column has one size, as counters and currencies have.

A cell is an int32 length and its bytes (native protocol, section 4.2.5.2), so that rows without a null lie at equal distances.
Anything else goes the driver's own way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cassandra.cqltypes import LongType, UTF8Type
from cassandra.protocol import ProtocolHandler
from numpy.typing import NDArray

FEWEST_ROWS = 16
"""Below this the driver's own way is as quick."""
CURRENCY_BYTES = 3
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


def _fixed(content: bytes, names: list[str], types: list[Any]) -> NDArray[np.void] | None:
    """The rows as an array of one field a column, or None where they do not lie at equal distances."""
    count = int.from_bytes(content[:4], "big")
    if count < FEWEST_ROWS or not all(issubclass(kind, LongType | UTF8Type) for kind in types):
        return None
    sizes = [8 if issubclass(kind, LongType) else CURRENCY_BYTES for kind in types]
    layout: list[tuple[str, str]] = []
    for name, size in zip(names, sizes, strict=True):
        layout += [(f"{name} length", ">i4"), (name, ">i8" if size == 8 else f"S{size}")]
    form = np.dtype(layout)
    if len(content) - 4 != count * form.itemsize:
        return None
    rows = np.frombuffer(content, form, count, 4)
    if not all(bool((rows[f"{name} length"] == size).all()) for name, size in zip(names, sizes, strict=True)):
        return None
    return rows


def column(rows: NDArray[np.void], name: str) -> NDArray[Any]:
    """One column: int64, or text of three characters."""
    found = rows[name]
    return found.astype(np.int64) if found.dtype.kind == "i" else found.astype(f"U{CURRENCY_BYTES}")


class ColumnsHandler(ProtocolHandler):  # type: ignore[misc]
    """The driver's protocol with ``ColumnsMessage``; give it to a session as ``client_protocol_handler``."""

    message_types_by_opcode = {**ProtocolHandler.message_types_by_opcode, 0x08: ColumnsMessage}  # noqa: RUF012 - the driver's
