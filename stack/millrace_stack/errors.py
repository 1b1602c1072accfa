"""What can go wrong with the local servers; each error is one line that says what to do."""

from __future__ import annotations

import click

from millrace_contracts import exit_codes


class StackError(click.ClickException):
    """A server did not start, stop or answer."""

    exit_code = exit_codes.UNAVAILABLE

    @property
    def brief(self) -> str:
        """What happened, and the last thing that the process itself said, in one line."""
        first, *rest = self.message.splitlines() or [""]
        said = [line.strip().removeprefix("Error: ") for line in rest if line.strip()]
        return f"{first.split('; last lines of')[0]}: {said[-1][:300]}" if said else first


class Ended(StackError):
    """A command ended with a code that is not 0; ``exit_code`` is its own."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code if code > 0 else exit_codes.FATAL  # type: ignore[misc]  # click declares it for the class


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
