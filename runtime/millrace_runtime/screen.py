"""What commands print: texts of others, such as names, notes and reasons, do nothing to the terminal."""

from __future__ import annotations

import click

from millrace_contracts.values.shown_text import on_screen


def echo(message: str | bytes = "", *, err: bool = False, nl: bool = True) -> None:
    """Print lines: ``click.echo`` without control characters. Bytes are JSON and go out as they are."""
    click.echo(on_screen(message) if isinstance(message, str) else message, err=err, nl=nl)  # noqa: TID251
