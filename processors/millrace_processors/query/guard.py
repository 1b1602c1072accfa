"""Whether a query may run: SQL text in, its lexemes and a checked syntax tree out, or a refusal that names what, where and what is allowed.

The lexemes pass only if every word is on the lists of ``grammar`` or a name; the tree only if every node is on them, every table is an
offered view or one of the query's own common table expressions, and every column is one that these have. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from millrace_processors.query import grammar
from millrace_processors.query.errors import RefusedError, TooLargeError
from millrace_processors.query.text.dialect import DIALECT
from millrace_processors.query.text.lexemes import Kind, Lexeme, lexemes, masked, refused
from millrace_processors.query.views import VIEWS

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,63}|_[A-Za-z0-9_]{1,63}")
_TYPED_TEXT = re.compile(r"[A-Za-z0-9:.,+/ _-]{1,80}")
_SYNTAX = "plain SELECT syntax, see `millrace query views`"
Query = exp.Select | exp.SetOperation


@dataclass(frozen=True)
class Checked:
    """A query that may run. ``names``: the lexemes, by their starts, that are names of views, columns and the query's own."""

    tree: Query
    lexemes: list[Lexeme]
    names: dict[int, exp.Identifier]


def check(sql: str, *, everything: bool) -> Checked:
    """One SELECT over the offered views.

    ``everything``: whether the caller reads all columns, or only those for everyone.

    Raises:
        RefusedError: something in it is not allowed; the message and its data say what, where and what is.
        TooLargeError: it is larger than a query may be.
    """
    found = lexemes(sql)
    _before_parsing(sql, found)
    tree = _parse(sql, found)
    nodes = list(tree.walk())
    if len(nodes) > grammar.MAX_NODES:
        raise TooLargeError(f"the query has {len(nodes):,} parts, and {grammar.MAX_NODES:,} are allowed; ask in several queries")
    if _depth(nodes) > grammar.MAX_DEPTH:
        raise TooLargeError(f"the query nests deeper than {grammar.MAX_DEPTH} parts; ask in several queries")
    units = {id(unit) for node in nodes for unit in _units(node)}
    names = {node.meta.get("start", -1): node for node in nodes if isinstance(node, exp.Identifier) and id(node.parent) not in units}
    text = _Text(sql, found, names)
    text.check()
    for node in nodes:
        _node(node, text)
    _tables(tree, text)
    _columns(tree, text, units, everything)
    return Checked(tree, found, names)


def _before_parsing(sql: str, found: list[Lexeme]) -> None:
    """Refuse what would keep the parser busy: deep nesting, and joins without a condition, for which it tries every way to read them."""
    if len(found) > grammar.MAX_TOKENS:
        raise TooLargeError(f"the query has {len(found):,} words, and {grammar.MAX_TOKENS:,} are allowed; ask in several queries")
    open_joins: list[Lexeme | None] = [None]
    for lexeme in [*found, None]:
        sign = lexeme.value if lexeme and lexeme.kind is Kind.SIGN else ""
        word = lexeme.word() if lexeme else ""
        join = open_joins[-1]
        if join and (lexeme is None or word == "JOIN" or sign in (")", ";")):
            raise refused(
                sql, join.start, "a join without a condition", "would pair every row with every other", "JOIN … ON or JOIN … USING"
            )
        if sign == "(":
            open_joins.append(None)
            if len(open_joins) > grammar.MAX_NESTING:
                raise TooLargeError(f"the query nests deeper than {grammar.MAX_NESTING} parentheses; ask in several queries")
        elif sign == ")" and len(open_joins) > 1:
            open_joins.pop()
        elif word == "JOIN":
            open_joins[-1] = lexeme
        elif word in ("ON", "USING"):
            open_joins[-1] = None


def _parse(sql: str, lexemes_: list[Lexeme]) -> Query:
    try:
        found = [
            each for each in sqlglot.parse(masked(sql, lexemes_), read=DIALECT) if each is not None and not isinstance(each, exp.Semicolon)
        ]
    except SqlglotError as error:
        raise _unparsed(error, sql) from None
    except RecursionError:
        raise TooLargeError("the query nests too deep; ask in several queries") from None
    if len(found) != 1:
        raise RefusedError(f"{len(found)} statements: a query is exactly one SELECT", what="statements", allowed="one SELECT")
    tree = found[0]
    while isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.this
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise refused(sql, lexemes_[0].start, f"{lexemes_[0].value:.40}", "is not how a query begins", "one SELECT")
    return tree


def _depth(nodes: list[exp.Expr]) -> int:
    """The depth of a tree whose nodes come parents first."""
    depths: dict[int, int] = {}
    for node in nodes:
        depths[id(node)] = depths.get(id(node.parent), 0) + 1
    return max(depths.values())


def _unparsed(error: SqlglotError, sql: str) -> RefusedError:
    """The parser has read the text with its literals masked, so what is told is taken from the caller's own."""
    details: list[dict[str, Any]] = getattr(error, "errors", None) or [{}]
    first = details[0]
    if not first.get("line"):
        return RefusedError("the SQL is not a query that Spark would read", what="syntax")
    length = len(first.get("highlight") or "")
    data = {"line": first["line"], "column": max(1, first["col"] - length + 1)}
    near = sql.split("\n")[data["line"] - 1][data["column"] - 1 :][:length]
    at = f"at line {data['line']}, column {data['column']}" + (f" near {near:.60}" if near else "")
    return RefusedError(f"the SQL is not a query that Spark would read {at}", what="syntax", **data)


def _units(node: exp.Expr) -> Iterator[exp.Expr]:
    """The unit that a function takes before two more arguments; the parser takes it for a column."""
    if isinstance(node, exp.Anonymous) and str(node.this).lower() in grammar.UNIT_FIRST and len(node.expressions) == 3:
        unit = node.expressions[0]
        if isinstance(unit, exp.Column) and not unit.table and unit.name.upper() in grammar.UNITS and not unit.this.args.get("quoted"):
            yield unit


@dataclass(frozen=True)
class _Text:
    """The lexemes of a query, and which of them are names."""

    sql: str
    lexemes: list[Lexeme]
    names: dict[int, exp.Identifier]

    def check(self) -> None:
        """Look up each lexeme: a name by its letters, any other word in the lists."""
        for before, lexeme, after in zip([None, *self.lexemes], self.lexemes, [*self.lexemes[1:], None], strict=False):
            called = after is not None and after.value == "(" and after.kind is Kind.SIGN
            if lexeme.start in self.names:
                self._name(lexeme)
            elif lexeme.kind is Kind.QUOTED:
                raise self._refuse(lexeme, f"the name {lexeme.value!r:.60}", "is no name here", "a view, a column, or a name of your own")
            elif lexeme.kind is Kind.TEXT and before and before.word() in grammar.TYPED_TEXTS and before.start not in self.names:
                if not _TYPED_TEXT.fullmatch(lexeme.value):
                    raise self._refuse(lexeme, f"the text {lexeme.value!r:.60}", f"makes no {before.value}", "such as '2026-11-24', '7'")
            elif lexeme.kind is Kind.WORD and not self._known(lexeme.value, called):
                raise self._unknown(lexeme, before.value.upper() if before else "", called)

    def _name(self, lexeme: Lexeme) -> None:
        written = lexeme.kind in (Kind.WORD, Kind.QUOTED) and self.names[lexeme.start].name == lexeme.value
        if not (written and _NAME.fullmatch(lexeme.value)):
            allowed = "letters, digits, _ - and spaces, up to 64, in backticks where it is more than one word"
            raise self._refuse(lexeme, f"the name {lexeme.value!r:.60}", "cannot be taken", allowed)

    def _known(self, word: str, called: bool) -> bool:
        if word.upper() in grammar.WORDS | grammar.TYPES | grammar.UNITS:
            return True
        return called and (word.lower() in grammar.FUNCTIONS or word.lower() == "array")

    def _unknown(self, lexeme: Lexeme, before: str, called: bool) -> RefusedError:
        if before in ("AS", "::"):
            return self._refuse(lexeme, f"the type {lexeme.value:.60}", "cannot be cast to", sorted(grammar.TYPES))
        if called:
            return self._refuse(lexeme, f"{lexeme.value:.60}()", "is no function that may be called", grammar.function_names())
        return self._refuse(lexeme, f"the word {lexeme.value:.60}", "is not part of a query here", _SYNTAX)

    def _refuse(self, lexeme: Lexeme, what: str, why: str, allowed: str | list[str]) -> RefusedError:
        return refused(self.sql, lexeme.start, what, why, allowed)

    def refuse(self, node: exp.Expr, why: str, allowed: str | list[str], what: str = "") -> RefusedError:
        """A refusal of a node where it stands, or where its parent does; it is told by its own text in the query."""
        of: exp.Expr | None = node
        starts: list[int] = []
        while of is not None and not starts:
            starts = [each.meta["start"] for each in of.walk() if "start" in each.meta]
            ends = [each.meta["end"] for each in of.walk() if "end" in each.meta]
            of = of.parent
        start = min(starts, default=0)
        shown = " ".join(self.sql[start : max(ends, default=-1) + 1].split())
        return refused(self.sql, start, what or f"'{shown:.60}'", why, allowed)


def _node(node: exp.Expr, text: _Text) -> None:
    kind = type(node)
    if isinstance(node, exp.Table) and node.args.get("db"):
        raise text.refuse(node, "is no view", list(VIEWS))
    if kind not in grammar.SYNTAX:
        raise text.refuse(node, "is not part of a query here", _SYNTAX)
    for name, value in node.args.items():
        if value and name not in grammar.SYNTAX[kind]:
            part = (
                value if isinstance(value, exp.Expr) else value[0] if isinstance(value, list) and isinstance(value[0], exp.Expr) else node
            )
            raise text.refuse(part, "is not part of a query here", _SYNTAX)
    if isinstance(node, exp.Select) and not node.args.get("expressions"):
        raise text.refuse(node, "asks for nothing", "a list of columns, or *", "a SELECT without a column")
    if isinstance(node, exp.Anonymous):
        _function(node, text)
    elif isinstance(node, exp.Join):
        _join(node, text)
    elif isinstance(node, exp.DataType) and node.args.get("nested"):
        raise text.refuse(node, "cannot be cast to", sorted(grammar.TYPES))


def _function(node: exp.Anonymous, text: _Text) -> None:
    name = str(node.this).lower()
    of = str(node.parent.this).lower() if isinstance(node.parent, exp.Anonymous) else ""
    if name == "array" and of in grammar.PERCENTILES and all(isinstance(each, exp.Literal) for each in node.expressions):
        return
    if name not in grammar.FUNCTIONS or isinstance(node.parent, exp.Table):
        raise text.refuse(node, "is no function that may be called", grammar.function_names(), f"{node.name:.60}()")


def _join(node: exp.Join, text: _Text) -> None:
    if node.text("side") not in grammar.JOIN_SIDES or node.text("kind") not in grammar.JOIN_KINDS:
        raise text.refuse(node, "is joined in a way that no query may", "[LEFT|RIGHT|FULL|SEMI|ANTI] JOIN … ON or USING")
    on = node.args.get("on")
    # sqlglot writes ON TRUE where there is no condition.
    if (on is None or isinstance(on, exp.Boolean)) and not node.args.get("using"):
        raise text.refuse(node, "would pair every row with every other", "JOIN … ON or JOIN … USING", "a join without a condition")


def _tables(tree: Query, text: _Text) -> None:
    """Every table is a view or a common table expression in scope."""
    tables = list(tree.find_all(exp.Table))
    if len(tables) > grammar.MAX_SOURCES:
        raise TooLargeError(f"the query names {len(tables)} tables, and {grammar.MAX_SOURCES} are allowed; ask in several queries")
    known = _cte_names(tree, text)
    for table in tables:
        name = table.name.lower()
        if not isinstance(table.this, exp.Identifier) or not (name in VIEWS or (name in known and in_scope(table))):
            raise text.refuse(table, "is no view", list(VIEWS), f"the table {table.name!r:.60}")


def _columns(tree: Query, text: _Text, units: set[int], everything: bool) -> None:
    """Every column and qualifier is one that something has."""
    columns = {column.name for view in VIEWS.values() for column in view.readable(everything=everything)} | set(_aliases(tree))
    sources = {table.alias_or_name.lower() for table in tree.find_all(exp.Table)}
    sources |= {each.alias.lower() for each in tree.find_all(exp.Subquery) if each.alias}
    for column in tree.find_all(exp.Column):
        what, name = f"the column {column.name!r:.60}", column.name.lower()
        if id(column) in units:
            continue
        if name in grammar.BARE_FUNCTIONS and not column.table:
            fix = "another name, or the column with its table before it"
            raise text.refuse(column, "is the name of a function that the engine calls by it", fix, what)
        if not isinstance(column.this, exp.Star) and name not in columns:
            raise text.refuse(column, "is in no view", sorted(columns), what)
        if column.table and column.table.lower() not in sources:
            raise text.refuse(column, "is of no table of the query", sorted(sources), f"{column.table!r:.60} before {column.name!r:.60}")


def _cte_names(tree: Query, text: _Text) -> set[str]:
    known: set[str] = set()
    for cte in tree.find_all(exp.CTE):
        name, what = cte.alias.lower(), f"WITH {cte.alias}"
        if name in VIEWS:
            raise text.refuse(cte.args["alias"], "would hide the view of that name", "another name", what)
        if name in known:
            raise text.refuse(cte.args["alias"], "is there already", "another name", what)
        known.add(name)
    return known


def in_scope(table: exp.Table) -> bool:
    """Whether a common table expression of this name stands before the table, in the WITH of a query around it."""
    inside: exp.Expr = table
    node = table.parent
    while node is not None:
        if isinstance(node, exp.With):
            before = node.expressions[: node.expressions.index(inside)]
            if any(cte.alias.lower() == table.name.lower() for cte in before):
                return True
        elif isinstance(node, exp.Query) and not isinstance(inside, exp.With):
            found = node.args.get("with_")
            if found and any(cte.alias.lower() == table.name.lower() for cte in found.expressions):
                return True
        inside, node = node, node.parent
    return False


def _aliases(tree: Query) -> Iterator[str]:
    for alias in tree.find_all(exp.Alias):
        yield alias.alias.lower()
    for names in tree.find_all(exp.TableAlias):
        yield from (column.name.lower() for column in names.args.get("columns") or [])
