"""How the capture tier's commands report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from millrace_cdc.errors import CaptureError, SourceLost, Unavailable
from millrace_runtime.screen import echo

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")


@contextmanager
def reported() -> Iterator[None]:
    """Turn the tier's errors into one line on standard error and their exit code."""
    try:
        yield
    except CaptureError as error:
        echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(error.exit_code) from None


@contextmanager
def answering() -> Iterator[None]:
    """A command does not wait for MongoDB as the relay does: that it is away ends it.

    Raises:
        Unavailable: MongoDB does not answer.
    """
    try:
        yield
    except SourceLost as error:
        raise Unavailable(f"MongoDB does not answer ({str(error).split(', Timeout:')[0]}); see MILLRACE_MONGO_RELAY_URI") from None
