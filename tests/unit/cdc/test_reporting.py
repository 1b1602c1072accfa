"""How an error of the tier ends a command: one line, and its exit code."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from millrace_cdc.connect.errors import NotFoundError, UnreachableError
from millrace_cdc.errors import CaptureError, Fenced, HistoryLost, Misconfigured, Oversize, SourceLost, Unavailable
from millrace_cdc.reporting import answering, reported


def ended(error: Exception) -> tuple[int, str]:
    @click.command()
    def command() -> None:
        with reported(), answering():
            raise error

    result = CliRunner().invoke(command)
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Misconfigured("no"), 2),
        (Unavailable("no"), 3),
        (Fenced("no"), 4),
        (HistoryLost("no"), 5),
        (Oversize("no", None), 6),
        (CaptureError("no"), 6),
        (NotFoundError("no"), 2),
        (UnreachableError("no"), 3),
    ],
)
def test_each_error_is_one_line_and_an_exit_code(error: CaptureError, code: int) -> None:
    assert ended(error) == (code, "Error: no\n")


def test_mongodb_that_is_away_ends_a_command() -> None:
    code, text = ended(SourceLost("127.0.0.1:1: connection refused, Timeout: 5.0s, Topology Description: ..."))
    assert (code, text) == (3, "Error: MongoDB does not answer (127.0.0.1:1: connection refused); see MILLRACE_MONGO_RELAY_URI\n")


def test_a_bug_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError), reported(), answering():
        _ = 1 // 0
