"""Rows of a result on the screen or in a file."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import IO, Any

import orjson

from millrace_contracts.values.shown_text import in_cell
from millrace_processors.query.text import forms

_NUMBERS = ("bigint", "int", "smallint", "tinyint", "double", "float")


def table(page: dict[str, Any], file: IO[bytes], most: int) -> None:
    """The first page as a table for a person."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table()
    for column in page["columns"]:
        shown.add_column(Text(in_cell(column["name"])), justify="right" if column["type"] in _NUMBERS else "left")
    for row in page["rows"][:most]:
        # Text, not markup: a merchant's name may hold brackets.
        shown.add_row(*(Text("NULL" if value is None else in_cell(forms.text(value))) for value in row))
    text = io.StringIO()
    Console(file=text, width=200).print(shown)
    if page["total"] > most:
        text.write(f"… {page['total'] - most:,} rows more; --format csv prints all\n")
    file.write(text.getvalue().encode())


def rows(pages: Iterable[bytes], kind: str, file: IO[bytes]) -> None:
    """Every page: CSV and JSON lines (one object a row) one after the other, Arrow as one stream."""
    if kind == "arrow":
        _arrow(pages, file)
        return
    for page in pages:
        if kind == "csv":
            file.write(page)
            continue
        found = orjson.loads(page)
        names = unique([column["name"] for column in found["columns"]])
        for row in found["rows"]:
            file.write(orjson.dumps(dict(zip(names, row, strict=True))) + b"\n")


def unique(names: list[str]) -> list[str]:
    """Names of an object's fields: of columns that are named alike, the later ones get a number."""
    found: list[str] = []
    for name in names:
        number, own = 1, name
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return found


def _arrow(pages: Iterable[bytes], file: IO[bytes]) -> None:
    import pyarrow as pa

    writer = None
    for page in pages:
        with pa.ipc.open_stream(page) as stream:
            writer = writer or pa.ipc.new_stream(file, stream.schema)
            for batch in stream:
                writer.write_batch(batch)
    if writer is not None:
        writer.close()
