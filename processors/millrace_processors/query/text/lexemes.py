"""A caller's SQL as the lexemes of Spark 4.1: words, names in backticks, texts, numbers and signs, each with its place. Pure.

What is none of these is refused. So whoever writes the lexemes again, one by one, writes nothing that another reader takes for a comment,
the end of a text, or a second statement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from millrace_processors.query.errors import RefusedError


class Kind(Enum):
    """``QUOTED``: a name in backticks. ``TEXT``: one or more string literals that follow each other, which Spark joins."""

    WORD = auto()
    QUOTED = auto()
    TEXT = auto()
    NUMBER = auto()
    SIGN = auto()


@dataclass(frozen=True)
class Lexeme:
    """``value``: the text without quotes and escapes; a word, number or sign as it is written. ``start``, ``end``: offsets in the SQL."""

    kind: Kind
    value: str
    start: int
    end: int

    def word(self) -> str:
        """An unquoted word in capitals, or ""."""
        return self.value.upper() if self.kind is Kind.WORD else ""


_LEXEME = re.compile(
    r"""(?P<space>\s+|--(?:\\\n|[^\r\n])*)
    |(?P<RAW>[rR](?:'[^']*'|"[^"]*"))
    |(?P<TEXT>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    |(?P<QUOTED>`(?:[^`]|``)*`)
    |(?P<NUMBER>(?:\d{1,38}\.\d{0,38}|\.\d{1,38}|\d{1,38})(?:[eE][+-]?\d{1,3})?(?:[lLsSyYfFdD]|[bB][dD])?(?![\w.]))
    |(?P<WORD>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<SIGN><=>|<>|!=|<=|>=|==|::|[-+*/%(),.;<>=!])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_COMMENT_ENDS = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"\\(?:(?P<octal>[01][0-7]{2})|u(?P<four>[0-9A-Fa-f]{4})|U(?P<eight>[0-9A-Fa-f]{8})|(?P<one>.))|''|\"\"", re.DOTALL)
_ESCAPED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
"""As Spark reads a character after a backslash; any other stands for itself."""


def lexemes(sql: str) -> list[Lexeme]:
    """The lexemes of a text, without comments.

    Raises:
        RefusedError: something is no lexeme; the message and its data name it and its place.
    """
    found: list[Lexeme] = []
    at = 1 if sql.startswith("\ufeff") else 0
    while at < len(sql):
        if sql.startswith("/*", at):
            at = _after_comment(sql, at)
            continue
        match = _LEXEME.match(sql, at)
        if match is None:
            raise _strange(sql, at)
        at = match.end()
        group = str(match.lastgroup)
        if group == "space":
            continue
        kind = Kind.TEXT if group == "RAW" else Kind[group]
        value = _value(group, match[0], sql, match.start())
        if kind is Kind.TEXT and found and found[-1].kind is Kind.TEXT:
            before = found.pop()
            found.append(Lexeme(kind, before.value + value, before.start, at))
        else:
            found.append(Lexeme(kind, value, match.start(), at))
    return found


def _after_comment(sql: str, start: int) -> int:
    """The end of a comment in brackets, in which others may nest."""
    if sql.startswith("/*+", start):
        raise refused(sql, start, "the hint '/*+'", "is not part of a query here", "comments without a plus")
    depth = 0
    for mark in _COMMENT_ENDS.finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    raise refused(sql, start, "the comment '/*'", "has no end", "/* … */")


def _strange(sql: str, at: int) -> RefusedError:
    quote = sql[at]
    if quote in "'\"`":
        return refused(sql, at, f"the quote {quote}", "has no end", f"{quote}…{quote}")
    if quote.isdigit() or quote == ".":
        number = re.match(r"[\w.]{1,40}", sql[at:])
        return refused(sql, at, f"the number {number[0] if number else quote!r}", "cannot be read", "digits with a point or an exponent")
    return refused(sql, at, f"the character {quote!r}", "is not part of a query here", "SELECT syntax without it, or text in quotes")


def _value(group: str, written: str, sql: str, start: int) -> str:
    if group == "RAW":
        return written[2:-1]
    if group == "QUOTED":
        return written[1:-1].replace("``", "`")
    if group != "TEXT":
        return written
    try:
        return _ESCAPE.sub(lambda match: _unescaped(match, written[0]), written[1:-1]).encode("utf-16", "surrogatepass").decode("utf-16")
    except (ValueError, OverflowError):
        raise refused(sql, start, f"the text {written:.40}", "holds half a character", "whole characters") from None


def _unescaped(match: re.Match[str], quote: str) -> str:
    if match["octal"]:
        return chr(int(match["octal"], 8))
    if match["four"] or match["eight"]:
        return chr(int(match["four"] or match["eight"], 16))
    if match["one"]:
        return _ESCAPED.get(match["one"], match["one"])
    return quote if match[0][0] == quote else match[0]


def masked(sql: str, found: list[Lexeme]) -> str:
    """The SQL at the same places for a parser of another lexical grammar: texts without content, numbers without suffix, no comments."""
    parts, at = [], 0
    for lexeme in found:
        parts.append(_blank(sql[at : lexeme.start], " "))
        written = sql[lexeme.start : lexeme.end]
        if lexeme.kind is Kind.TEXT:
            written = "'" + _blank(written[1:-1], "x") + "'"
        elif lexeme.kind is Kind.NUMBER:
            written = re.sub("[lLsSyYfFdDbB]", "0", written)
        parts.append(written)
        at = lexeme.end
    return "".join(parts)


def _blank(text: str, filler: str) -> str:
    return re.sub(r"[^\n]", filler, text)


def place(sql: str, offset: int) -> dict[str, int]:
    """Line and column of an offset, from 1."""
    before = sql[:offset]
    return {"line": before.count("\n") + 1, "column": len(before) - (before.rfind("\n") + 1) + 1}


def refused(sql: str, offset: int, what: str, why: str, allowed: str | list[str]) -> RefusedError:
    """A refusal that names what, where, why not and what is allowed."""
    at = place(sql, offset)
    shown = ", ".join(allowed) if isinstance(allowed, list) else allowed
    message = f"{what} at line {at['line']}, column {at['column']} {why}; allowed: {shown}"
    return RefusedError(message, what=what, **at, allowed=allowed)
