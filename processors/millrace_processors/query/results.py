"""Results as Arrow files, one a job, and the pages that are read out of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from millrace_contracts.values.shown_text import csv_cell

FORMATS = {"json": "application/json", "csv": "text/csv; charset=utf-8", "arrow": "application/vnd.apache.arrow.stream"}


class Results:
    """The files ``<folder>/<job>.arrow``; a file appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for draft in folder.glob("*.draft"):
            draft.unlink()

    def write(self, job_id: str, table: pa.Table) -> int:
        """Keep a result; its bytes on disk."""
        draft = self._path(job_id).with_suffix(".draft")
        with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        size = draft.stat().st_size
        draft.replace(self._path(job_id))
        return size

    def read(self, job_id: str, offset: int, limit: int) -> pa.Table:
        """Some rows of a result.

        Raises:
            FileNotFoundError: it has been removed.
        """
        # Mapped: a page touches its own rows only, and keeps the file alive while it is used.
        return pa.ipc.open_file(pa.memory_map(str(self._path(job_id)), "r")).read_all().slice(offset, limit)

    def remove(self, job_id: str) -> None:
        """Remove a result; one that is not there is no error."""
        self._path(job_id).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """The jobs that have a file."""
        return {path.stem for path in self._folder.glob("*.arrow")}

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.arrow"


@dataclass(frozen=True)
class Page:
    """Rows of a result from ``offset`` on; ``next`` is the offset of the next page, None of the last one."""

    table: pa.Table
    offset: int
    next: int | None
    total: int
    truncated: bool


def columns(table: pa.Table) -> list[dict[str, str]]:
    """Names and types of the columns, the types as SQL writes them."""
    return [{"name": field.name, "type": _sql_type(field.type)} for field in table.schema]


def _sql_type(kind: pa.DataType) -> str:
    for test, name in _TYPES:
        if test(kind):
            return name
    return str(kind)


_TYPES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (pa.types.is_int64, "bigint"),
    (pa.types.is_int32, "int"),
    (pa.types.is_float64, "double"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_date, "date"),
    (pa.types.is_null, "null"),
)


def _readable(table: pa.Table, *, text_numbers: bool) -> list[list[Any]]:
    """Columns as values that JSON and CSV hold: whole numbers of 64 bits and decimals are text in JSON (I10), instants ISO 8601 in UTC."""
    found = []
    for column in table.columns:
        values = column.to_pylist()
        kind = column.type
        if pa.types.is_timestamp(kind):
            zone = "Z" if kind.tz else ""
            values = [None if each is None else each.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone for each in values]
        elif pa.types.is_decimal(kind) or pa.types.is_duration(kind) or (text_numbers and pa.types.is_int64(kind)):
            values = [None if each is None else str(each) for each in values]
        elif pa.types.is_date(kind):
            values = [None if each is None else each.isoformat() for each in values]
        found.append(values)
    return found


def as_json(page: Page, **more: object) -> bytes:
    """A page as one JSON object: columns, rows as lists, and where the next page is."""
    rows = list(zip(*_readable(page.table, text_numbers=True), strict=True))
    body = {"columns": columns(page.table), "rows": rows, "offset": page.offset, "total": page.total, "truncated": page.truncated, **more}
    return orjson.dumps(body)


def as_csv(page: Page) -> bytes:
    """A page as RFC 4180, with a line of names on the first page only, so that pages can be joined. No text is taken for a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if page.offset == 0:
        writer.writerow(map(csv_cell, page.table.column_names))
    found = zip(page.table.schema.types, _readable(page.table, text_numbers=False), strict=True)
    writer.writerows(zip(*(_disarmed(values) if _holds_text(kind) else values for kind, values in found), strict=True))
    return text.getvalue().encode()


def _holds_text(kind: pa.DataType) -> bool:
    """Whether values may hold texts of others: all but numbers, instants and the like, whose cells begin with a minus sign rightly."""
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_nested))


def _disarmed(values: list[Any]) -> list[Any]:
    return [None if each is None else csv_cell(str(each)) for each in values]


def as_arrow(page: Page) -> bytes:
    """A page as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, page.table.schema) as writer:
        writer.write_table(page.table)
    return bytes(sink.getvalue())
