"""What commands print of others' texts."""

import ast
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from millrace_runtime.screen import echo

ROOT = Path(__file__).parents[3]
OWN_WORDS = {"graphql/millrace_graphql/token_cli.py", "stack/millrace_stack/cli.py", "stack/millrace_stack/load/cli.py"}
"""Commands that print only what they made themselves, or the lines of logs as they are."""


@click.command()
def told() -> None:
    echo("name \x1b]0;owned\x07\nnext\tone \x9b31m\u202e")
    echo(b'{"a":1}')
    echo("\x1bproblem", err=True)


def test_lines_are_printed_without_control_characters() -> None:
    result = CliRunner().invoke(told)
    assert result.stdout == 'name \\x1b]0;owned\\x07\nnext\tone \\x9b31m\\u202e\n{"a":1}\n'
    assert result.stderr == "\\x1bproblem\n"


@pytest.mark.parametrize("tier", ["cdc", "collection", "graphql", "mongo-init", "processors", "stack"])
def test_every_command_prints_by_it(tier: str) -> None:
    for path in (ROOT / tier).rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if name in OWN_WORDS:
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        raw = [
            each for each in calls if isinstance(each, ast.Attribute) and each.attr == "echo" and getattr(each.value, "id", "") == "click"
        ]
        assert not raw, f"{name}: print by millrace_runtime.screen.echo"
