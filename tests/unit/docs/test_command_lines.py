"""Every command line that a page shows is one that the command takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from millrace.main import cli
from tests.unit.docs.pages import ROOT, code_lines, inline_code, name_of, pages

_START = re.compile(r"(?:^|[($;&|`] ?|\s)(?:\.venv/bin/)?millrace (?=[a-z-])")
_END = re.compile(r"\s{2,}|\s#|\s&&|\s\||;|\)|`|\s>|\s<|\\$|$")
_PLACEHOLDER = re.compile(r"\[?[A-Z_]+\]?(\.\.\.)?|\[.*\](\.\.\.)?|COMMAND")
_SHORT = re.compile(r"[…|]|^\.\.\.$")


def lines(text: str) -> list[list[str]]:
    """The arguments of each ``millrace`` command in a line."""
    found = []
    for start in _START.finditer(text):
        rest = text[start.end() :]
        end = _END.search(rest)
        assert end is not None
        found.append(shlex.split(rest[: end.start()].rstrip(".,:")))
    return found


def resolve(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that words name, and what is left of them."""
    command: click.Command = cli
    context = click.Context(cli, info_name="millrace", obj={"MILLRACE_HOME": "nowhere"})
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        assert below is not None, f"there is no command {words[0]!r} in {context.command_path}"
        command, context, words = below, click.Context(below, parent=context, info_name=words[0]), words[1:]
    return command, context, words


def check(words: list[str]) -> None:
    """Have click parse them; nothing is run."""
    command, context, rest = resolve(words)
    if isinstance(command, click.Group) or {"-h", "--help"} & set(rest):
        assert {*rest} <= {"-h", "--help"}, f"{words}: a command is missing"
        return
    assert context.parent is not None
    command.make_context(context.info_name, rest, parent=context.parent)


def check_names(words: list[str]) -> None:
    """See that command and options exist: a mention in a sentence may leave things out, and name alternatives as ``plan|apply``."""
    path = [word for word in words if not word.startswith("-")]
    for index, word in enumerate(path):
        if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", word):
            for one in word.split("|"):
                check_names([*path[:index], one])
            return
    command, _, rest = resolve([word for word in words if not _SHORT.search(word)])
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"-h", "--help"}
    for word in rest:
        assert not word.startswith("-") or word.partition("=")[0] in known, f"{words}: no option {word}"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_command_line_parses(page: Path) -> None:
    for line in code_lines(page):
        for words in lines(line):
            if any(_SHORT.search(word) for word in words):
                check_names(words)
            else:
                check(words)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_command_in_a_sentence_exists(page: Path) -> None:
    for text in inline_code(page):
        for words in lines(text):
            check_names([word for word in words if not _PLACEHOLDER.fullmatch(word)])


@pytest.mark.parametrize(
    "wrong", ["stak up", "relay run --fast", "demo --rate fast", "collection keys create --name shop", "connect offsets --json"]
)
def test_a_wrong_line_is_seen(wrong: str) -> None:
    (words,) = lines(f"millrace {wrong}   and what it does")
    with pytest.raises((AssertionError, click.UsageError)):
        check(words)


def test_many_lines_are_looked_at() -> None:
    assert sum(len(lines(line)) for page in pages() for line in code_lines(page)) > 60


def targets() -> set[str]:
    """What `make` knows."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_make_target_exists(page: Path) -> None:
    texts = [*code_lines(page), *inline_code(page)]
    named = {target for text in texts for target in re.findall(r"(?:^|&& |; |^\$ )make ([a-z-]+)(?= [A-Z]|\s*$|\s{2}|,| &&| #)", text)}
    assert named <= targets()


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_script_that_is_run_exists(page: Path) -> None:
    for text in [*code_lines(page), *inline_code(page)]:
        for script in re.findall(r"\b((?:bench|scripts|deploy)/[\w./-]+)", text):
            assert (ROOT / script.rstrip(".")).exists() or script.startswith(("bench/results", "deploy/env")), script
