"""What commands print of others' texts."""

import click
from click.testing import CliRunner

from millrace_runtime.screen import echo


@click.command()
def told() -> None:
    echo("name \x1b]0;owned\x07\nnext\tone \x9b31m\u202e")
    echo(b'{"a":1}')
    echo("\x1bproblem", err=True)


def test_lines_are_printed_without_control_characters() -> None:
    result = CliRunner().invoke(told)
    assert result.stdout == 'name \\x1b]0;owned\\x07\nnext\tone \\x9b31m\\u202e\n{"a":1}\n'
    assert result.stderr == "\\x1bproblem\n"
