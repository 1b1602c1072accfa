"""How the capture tier's commands report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from millrace_cdc.errors import RelayError

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")


class Failed(click.ClickException):
    """A command ended with an error; its exit code says of which kind."""

    def __init__(self, error: RelayError) -> None:
        super().__init__(str(error))
        self.exit_code: int = error.exit_code  # type: ignore[misc]


@contextmanager
def reported() -> Iterator[None]:
    """Turn the tier's errors into one line and an exit code."""
    try:
        yield
    except RelayError as error:
        raise Failed(error) from None
