"""What can go wrong with the local servers; each error is one line that says what to do."""

from __future__ import annotations

import click

from millrace_contracts import exit_codes


class StackError(click.ClickException):
    """A server did not start, stop or answer."""

    exit_code = exit_codes.UNAVAILABLE


class PrerequisiteMissing(StackError):
    """A program, a port or disk space that the machine has to give first."""

    exit_code = exit_codes.USAGE


class PortTaken(PrerequisiteMissing):
    """Another program listens on a port that this home remembers."""

    def __init__(self, name: str, port: int, holder: str) -> None:
        super().__init__(
            f"port {port} ({name}) is taken by {holder}: stop it, or choose another port with MILLRACE_STACK_PORTS={name}=PORT"
        )
        self.name = name
        self.port = port


class ArtefactError(StackError):
    """An artefact could not be resolved or is not what the lock file says."""
