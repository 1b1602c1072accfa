"""Whether a query may run: SQL text in, a checked syntax tree out, or a refusal that names what, where and what is allowed. Pure.

The tree passes only if every node of it is on the lists of ``grammar``, every table is an offered view or one of the query's own common
table expressions, and every column is one that these have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from millrace_processors.query import grammar
from millrace_processors.query.errors import RefusedError, TooLargeError
from millrace_processors.query.views import VIEWS

DIALECT = "spark"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,63}|_[A-Za-z0-9_]{1,63}")
_NUMBER = re.compile(r"\d{1,38}|\d{0,38}\.\d{1,38}|\d{1,38}\.\d{0,38}|\d{1,20}(\.\d{0,20})?[eE][+-]?\d{1,3}")
_FORMAT = re.compile(r"[A-Za-z0-9%:.,/ _-]{1,120}")
"""As sqlglot keeps it: %Y for yyyy, and so on."""
_INTERVAL = re.compile(r"-?\d{1,9}")
Query = exp.Select | exp.SetOperation


def check(sql: str, *, everything: bool) -> Query:
    """The tree of one SELECT over the offered views.

    ``everything``: whether the caller reads all columns, or only those for everyone.

    Raises:
        RefusedError: something in it is not allowed; the message and its data say what, where and what is.
        TooLargeError: it is larger than a query may be.
    """
    tree = _parse(sql)
    nodes = list(tree.walk())
    if len(nodes) > grammar.MAX_NODES:
        raise TooLargeError(f"the query has {len(nodes):,} parts, and {grammar.MAX_NODES:,} are allowed; ask in several queries")
    if _depth(nodes) > grammar.MAX_DEPTH:
        raise TooLargeError(f"the query nests deeper than {grammar.MAX_DEPTH} parts; ask in several queries")
    place = _Places(sql)
    for node in nodes:
        _node(node, place)
    _names(tree, place, everything)
    return tree


def _parse(sql: str) -> Query:
    try:
        _before_parsing(sqlglot.tokenize(sql, read=DIALECT))
        found = [each for each in sqlglot.parse(sql, read=DIALECT) if each is not None and not isinstance(each, exp.Semicolon)]
    except SqlglotError as error:
        raise _unparsed(error) from None
    except RecursionError:
        raise TooLargeError("the query nests too deep; ask in several queries") from None
    if len(found) != 1:
        raise RefusedError(f"{len(found)} statements: a query is exactly one SELECT", what="statements", allowed="one SELECT")
    tree = found[0]
    while isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
        tree = tree.this
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise RefusedError(f"{_word(tree)}: a query is one SELECT, nothing else", what=_word(tree), line=1, column=1, allowed="one SELECT")
    return tree


def _before_parsing(tokens: list[Token]) -> None:
    """Refuse what would keep the parser busy: deep nesting, and joins without a condition, for which it tries every way to read them."""
    if len(tokens) > grammar.MAX_TOKENS:
        raise TooLargeError(f"the query has {len(tokens):,} words, and {grammar.MAX_TOKENS:,} are allowed; ask in several queries")
    open_joins: list[Token | None] = [None]
    for token in [*tokens, None]:
        kind = token.token_type if token else None
        if open_joins[-1] and (kind in (None, TokenType.JOIN, TokenType.R_PAREN, TokenType.SEMICOLON)):
            raise _unconditional(open_joins[-1])
        if kind is TokenType.L_PAREN:
            open_joins.append(None)
            if len(open_joins) > grammar.MAX_NESTING:
                raise TooLargeError(f"the query nests deeper than {grammar.MAX_NESTING} parentheses; ask in several queries")
        elif kind is TokenType.R_PAREN and len(open_joins) > 1:
            open_joins.pop()
        elif kind is TokenType.JOIN:
            open_joins[-1] = token
        elif kind in (TokenType.ON, TokenType.USING):
            open_joins[-1] = None


def _unconditional(join: Token) -> RefusedError:
    column = join.col - len(join.text) + 1
    what, allowed = "a join without a condition", "JOIN … ON or JOIN … USING"
    message = f"{what} at line {join.line}, column {column} would pair every row with every other; allowed: {allowed}"
    return RefusedError(message, what=what, line=join.line, column=column, allowed=allowed)


def _depth(nodes: list[exp.Expr]) -> int:
    """The depth of a tree whose nodes come parents first."""
    depths: dict[int, int] = {}
    for node in nodes:
        depths[id(node)] = depths.get(id(node.parent), 0) + 1
    return max(depths.values())


def _unparsed(error: SqlglotError) -> RefusedError:
    details: list[dict[str, Any]] = getattr(error, "errors", None) or [{}]
    first = details[0]
    data = {"line": first["line"], "column": max(1, first["col"] - len(first.get("highlight") or "") + 1)} if first.get("line") else {}
    at = f" at line {data['line']}, column {data['column']}" if data else ""
    near = f" near {first['highlight']!r:.60}" if first.get("highlight") else ""
    reason = str(first.get("description") or "it cannot be read").rstrip(".")
    return RefusedError(f"the SQL is not a query that Spark would read{at}{near}: {reason}", what="syntax", **data)


class _Places:
    """Where a node stands in the text. sqlglot notes offsets of names and literals; another node stands where its first one does."""

    def __init__(self, sql: str) -> None:
        self._sql = sql

    def of(self, node: exp.Expr) -> dict[str, int]:
        starts = [each.meta["start"] for each in node.walk() if "start" in each.meta]
        parent = node.parent
        if not starts and parent is not None:
            starts = [each.meta["start"] for each in parent.walk() if "start" in each.meta]
        if not starts:
            return {}
        before = self._sql[: min(starts)]
        return {"line": before.count("\n") + 1, "column": len(before) - (before.rfind("\n") + 1) + 1}

    def refuse(self, node: exp.Expr, what: str, why: str, allowed: str | list[str]) -> RefusedError:
        at = self.of(node)
        where = f" at line {at['line']}, column {at['column']}" if at else ""
        shown = ", ".join(allowed) if isinstance(allowed, list) else allowed
        return RefusedError(f"{what}{where} {why}; allowed: {shown}", what=what, **at, allowed=allowed)


def _word(node: exp.Expr) -> str:
    """What a caller calls a node."""
    if isinstance(node, exp.Anonymous):
        return f"{node.name}()"
    if isinstance(node, exp.Command):
        return str(node.this).upper()
    name = grammar.FUNCTIONS.get(type(node)) or node.key.upper()
    return f"{name}()" if isinstance(node, exp.Func) else name


def _node(node: exp.Expr, place: _Places) -> None:
    kind = type(node)
    if isinstance(node, exp.Anonymous):
        if str(node.this).lower() not in grammar.OTHER_FUNCTIONS or isinstance(node.parent, exp.Table):
            raise place.refuse(node, _word(node), "is no function that may be called", grammar.function_names())
    elif kind in grammar.SYNTAX:
        for name, value in node.args.items():
            if value and name not in grammar.SYNTAX[kind]:
                what = f"{_word(node)} with {name.rstrip('_').replace('_', ' ').upper()}"
                raise place.refuse(node, what, "is not part of a query here", "plain SELECT syntax, see `millrace query views`")
    elif kind not in grammar.FUNCTIONS:
        if isinstance(node, exp.Func):
            raise place.refuse(node, _word(node), "is no function that may be called", grammar.function_names())
        raise place.refuse(node, _word(node), "is not part of a query here", "plain SELECT syntax, see `millrace query views`")
    if kind is exp.Select and not node.args.get("expressions"):
        raise place.refuse(node, "SELECT without a column", "asks for nothing", "a list of columns, or *")
    _values(node, place)


def _values(node: exp.Expr, place: _Places) -> None:
    """Texts inside a node, each by its own rule: what the engine is given is written from the tree again."""
    for kind, rule in _RULES.items():
        if isinstance(node, kind):
            rule(node, place)
            return
    for name, value in node.args.items():
        if isinstance(value, str) and value not in grammar.WORDS.get((type(node), name), ()):
            raise place.refuse(node, f"{_word(node)} with {name}", "is not part of a query here", "plain SELECT syntax")


def _identifier(node: exp.Expr, place: _Places) -> None:
    if not _NAME.fullmatch(node.name):
        raise place.refuse(node, f"the name {node.name!r:.60}", "cannot be taken", "letters, digits, _ - and spaces, up to 64")


def _type(node: exp.Expr, place: _Places) -> None:
    name = node.this.value if isinstance(node.this, exp.DType) else "?"
    if name not in grammar.TYPES or node.args.get("nested"):
        raise place.refuse(node, f"the type {name}", "cannot be cast to", sorted(grammar.TYPES))


def _unit(node: exp.Expr, place: _Places) -> None:
    if node.name.upper().removesuffix("S") not in grammar.UNITS:
        raise place.refuse(node, f"the word {node.name!r:.40}", "is not known", sorted(grammar.UNITS))


def _frame(node: exp.Expr, place: _Places) -> None:
    if not grammar.WINDOW_WORDS.issuperset(value for value in node.args.values() if isinstance(value, str)):
        raise place.refuse(node, "the window frame", "is not known", sorted(grammar.WINDOW_WORDS))


def _literal(node: exp.Expr, place: _Places) -> None:
    parent = node.parent
    if not node.args["is_string"]:
        if not _NUMBER.fullmatch(node.name):
            raise place.refuse(node, f"the number {node.name!r:.40}", "cannot be read", "digits with a point or an exponent")
    elif isinstance(parent, exp.Interval) and not _INTERVAL.fullmatch(node.name):
        raise place.refuse(node, f"the interval {node.name!r:.40}", "cannot be read", "a whole number and a unit, as in INTERVAL 7 DAYS")
    elif isinstance(parent, exp.TimeToStr) and node.arg_key == "format" and not _FORMAT.fullmatch(node.name):
        raise place.refuse(node, "the format of date_format()", "cannot be read", "a pattern such as 'yyyy-MM-dd HH:mm'")


def _join(node: exp.Expr, place: _Places) -> None:
    for text, words in ((node.text("side"), grammar.JOIN_SIDES), (node.text("kind"), grammar.JOIN_KINDS)):
        if text not in words:
            raise place.refuse(node, f"{text} JOIN", "is not part of a query here", "[LEFT|RIGHT|FULL|SEMI|ANTI] JOIN … ON or USING")
    on = node.args.get("on")
    # sqlglot writes ON TRUE where there is no condition.
    if (on is None or isinstance(on, exp.Boolean)) and not node.args.get("using"):
        raise place.refuse(node, "a join without a condition", "would pair every row with every other", "JOIN … ON or JOIN … USING")


def _called(node: exp.Expr, place: _Places) -> None:
    """Of a function that sqlglot does not know: ``_node`` has seen its name."""


_RULES: dict[type[exp.Expr], Callable[[exp.Expr, _Places], None]] = {
    exp.Identifier: _identifier,
    exp.Literal: _literal,
    exp.DataType: _type,
    exp.Var: _unit,
    exp.WindowSpec: _frame,
    exp.Join: _join,
    exp.Anonymous: _called,
}


def _names(tree: Query, place: _Places, everything: bool) -> None:
    """Every table is a view or a common table expression in scope; every column and qualifier is one that something has."""
    tables = list(tree.find_all(exp.Table))
    if len(tables) > grammar.MAX_SOURCES:
        raise TooLargeError(f"the query names {len(tables)} tables, and {grammar.MAX_SOURCES} are allowed; ask in several queries")
    known = _cte_names(tree, place)
    for table in tables:
        if not isinstance(table.this, exp.Identifier):
            raise place.refuse(table, _word(table.this), "is no view", list(VIEWS))
        name = table.name.lower()
        if name not in VIEWS and not (name in known and in_scope(table)):
            raise place.refuse(table, f"the table {table.name!r:.60}", "is no view", list(VIEWS))
    columns = {column.name for view in VIEWS.values() for column in view.readable(everything=everything)} | set(_aliases(tree))
    sources = {table.alias_or_name.lower() for table in tables}
    sources |= {each.alias.lower() for each in tree.find_all(exp.Subquery) if each.alias}
    for column in tree.find_all(exp.Column):
        if not isinstance(column.this, exp.Star) and column.name.lower() not in columns:
            raise place.refuse(column, f"the column {column.name!r:.60}", "is in no view", sorted(columns))
        if column.table and column.table.lower() not in sources:
            raise place.refuse(column, f"{column.table!r:.60} of {column.sql(DIALECT)!r:.80}", "is no table of the query", sorted(sources))


def _cte_names(tree: Query, place: _Places) -> set[str]:
    known: set[str] = set()
    for cte in tree.find_all(exp.CTE):
        name = cte.alias.lower()
        if name in VIEWS:
            raise place.refuse(cte.args["alias"], f"WITH {cte.alias}", "would hide the view of that name", "another name")
        if name in known:
            raise place.refuse(cte.args["alias"], f"WITH {cte.alias}", "is there already", "another name")
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
