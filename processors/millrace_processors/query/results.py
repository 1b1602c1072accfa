"""Results as Arrow files, one a job, and the pages that are read out of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa

from millrace_processors.query.text import forms

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
    return [{"name": field.name, "type": forms.sql_type(field)} for field in table.schema]


def as_json(page: Page, **more: object) -> bytes:
    """A page as one JSON object: columns, rows as lists, and where the next page is."""
    rows = list(zip(*map(forms.json_values, page.table.columns), strict=True))
    body = {"columns": columns(page.table), "rows": rows, "offset": page.offset, "total": page.total, "truncated": page.truncated, **more}
    return orjson.dumps(body)


def as_csv(page: Page) -> bytes:
    """A page as RFC 4180, with a line of names on the first page only, so that pages can be joined; ``forms`` tells null from ""."""
    rows = zip(*map(forms.csv_cells, page.table.columns), strict=True)
    head = [forms.csv_cells(pa.array(page.table.column_names, pa.string()))] if page.offset == 0 else []
    return "".join(",".join(row) + "\r\n" for row in (*head, *rows)).encode()


def as_arrow(page: Page) -> bytes:
    """A page as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, page.table.schema) as writer:
        writer.write_table(page.table)
    return bytes(sink.getvalue())
