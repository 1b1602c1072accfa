"""The tier's errors as a command shows them: one line each, with its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from millrace_contracts import exit_codes
from millrace_processors.errors import CommandError, ProcessorsError, UnavailableError


class Failed(click.ClickException):
    """A job failed; a supervisor may start it again."""

    exit_code = exit_codes.FATAL


class Refused(Failed):
    """What was asked for can not be done."""

    exit_code = exit_codes.USAGE


class Away(Failed):
    """A server does not answer."""

    exit_code = exit_codes.UNAVAILABLE


@contextmanager
def reported() -> Iterator[None]:
    """Show the tier's errors as one line each."""
    try:
        yield
    except CommandError as error:
        raise Refused(str(error)) from None
    except UnavailableError as error:
        raise Away(str(error)) from None
    except ProcessorsError as error:
        raise Failed(str(error)) from None
