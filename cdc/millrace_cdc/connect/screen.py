"""How the commands speak with a person: errors in one line, tables, JSON."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from millrace_cdc.connect.client import PATIENCE
from millrace_cdc.connect.session import Session, opened
from millrace_cdc.connect.status import Report
from millrace_cdc.reporting import reported
from millrace_contracts.values.shown_text import in_cell
from millrace_runtime.screen import echo

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table or lines.")
WIDTH = 160


@contextmanager
def session(environ: Mapping[str, str], *, patience: float = PATIENCE) -> Iterator[Session]:
    """A session whose errors end the command in one line."""
    with reported(), opened(environ, patience=patience) as open_session:
        yield open_session


def json_text(document: object) -> str:
    """A JSON document for a person's eyes."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def show_json(document: object) -> None:
    """One JSON document on standard output."""
    echo(json_text(document))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under headings, without borders; the last column takes what room is left and wraps."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*("" if value is None else in_cell(str(value)) for value in row))
    out = io.StringIO()
    Console(file=out, width=WIDTH, highlight=False, markup=False, no_color=True, force_terminal=False).print(made)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def status_table(report: Report) -> str:
    """Connectors and tasks, then what is wrong."""
    rows = [(row.connector if row.task is None else "", "" if row.task is None else row.task, row.state, row.worker) for row in report.rows]
    lines = [table(("CONNECTOR", "TASK", "STATE", "WORKER"), rows)]
    lines += [f"! {trouble}" for trouble in report.troubles]
    return "\n".join(lines)
