"""What can go wrong with Kafka Connect; each error carries its exit code, and its text never holds a secret."""

from __future__ import annotations

from millrace_cdc.errors import CaptureError
from millrace_contracts import exit_codes


class ConnectError(CaptureError):
    """Base of every error of this package; ``message`` is one line for a person."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class DeclarationError(ConnectError):
    """A file of connect-config/ is not what it should be; the message names the file and the key."""

    exit_code = exit_codes.USAGE


class UnreachableError(ConnectError):
    """No worker answers."""

    exit_code = exit_codes.UNAVAILABLE


class LoginError(ConnectError):
    """The REST API knows no such user and password."""

    exit_code = exit_codes.USAGE


class RebalancingError(ConnectError):
    """The cluster kept answering 409 for a rebalance until the time was over."""

    exit_code = exit_codes.UNAVAILABLE


class NotFoundError(ConnectError):
    """There is no such connector, task, plugin or logger."""

    exit_code = exit_codes.USAGE


class AlreadyExistsError(ConnectError):
    """A connector of this name is there."""

    exit_code = exit_codes.USAGE


class RefusedError(ConnectError):
    """Connect refuses the request (400, 422): its content or the connector's state does not allow it."""

    exit_code = exit_codes.USAGE


class InvalidConfigError(ConnectError):
    """Connect's validation refuses a connector's configuration; ``problems`` are (key, reason)."""

    exit_code = exit_codes.USAGE

    def __init__(self, name: str, problems: list[tuple[str, str]]) -> None:
        listed = "; ".join(f"{key}: {reason}" for key, reason in problems)
        super().__init__(f"{name}: Connect's validation refuses {len(problems)} of its values: {listed}")
        self.name = name
        self.problems = problems


class WorkerError(ConnectError):
    """Connect failed inside (500 and above), or its answer is not its own."""


class NotSettledError(ConnectError):
    """A connector did not come into the state that was asked for within the time."""

    exit_code = exit_codes.DIFFERENT
