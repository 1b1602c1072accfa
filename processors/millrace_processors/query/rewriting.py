"""The caller's rows and range of time put into a checked query (I9), in the syntax tree, never in the text. Pure.

Each view becomes a subselect over the lake's table with the filter at its innermost FROM. Every text of the caller becomes a parameter, so
that no quoting has to be right; common table expressions get names of our own, so that a name which is none of ours finds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import sqlglot
from sqlglot import exp

from millrace_processors.query.errors import RefusedError
from millrace_processors.query.guard import DIALECT, Query, check
from millrace_processors.query.views import VIEWS, View


@dataclass(frozen=True)
class Scope:
    """The rows of a query. ``merchants``: None for every merchant's; windows start in [``start``, ``end``)."""

    merchants: tuple[str, ...] | None
    everything: bool
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Table:
    """A table of the lake as the engine knows it, at one of its snapshots where that is known."""

    path: tuple[str, ...]
    snapshot: int | None = None


@dataclass(frozen=True)
class Statement:
    """What the engine runs: ``sql`` with named parameters, and the full names of the tables that it may read."""

    sql: str
    parameters: dict[str, Any]
    tables: frozenset[tuple[str, ...]]


@dataclass
class _Parameters:
    values: dict[str, Any] = field(default_factory=dict)

    def of(self, value: Any) -> exp.Placeholder:
        """The placeholder of a value; equal ones share it."""
        for name, known in self.values.items():
            if known == value and type(known) is type(value):
                return exp.Placeholder(this=name)
        name = f"p{len(self.values)}"
        self.values[name] = value
        return exp.Placeholder(this=name)


def rewrite(sql: str, scope: Scope, tables: Mapping[str, Table], dialect: str = DIALECT) -> Statement:
    """A caller's SQL as the engine's statement. ``tables``: the lake's tables by their short names.

    Raises:
        RefusedError: the query is not allowed (see ``guard``).
    """
    tree = check(sql, everything=scope.everything)
    parameters = _Parameters()
    _bind_texts(tree, parameters)
    own = _rename_ctes(tree)
    for table in list(tree.find_all(exp.Table)):
        view = VIEWS.get(table.name.lower())
        if view is not None:
            table.replace(_subselect(view, table, scope, tables, parameters))
    found = _sealed(tree, own, {each.path for each in tables.values()})
    return Statement(tree.sql(dialect, comments=False, identify=True), parameters.values, frozenset(found))


def _bind_texts(tree: Query, parameters: _Parameters) -> None:
    for literal in list(tree.find_all(exp.Literal)):
        # These two have to stand in the text; ``guard`` has seen that they are plain.
        kept = isinstance(literal.parent, exp.Interval) or (isinstance(literal.parent, exp.TimeToStr) and literal.arg_key == "format")
        if literal.is_string and not kept:
            literal.replace(parameters.of(literal.name))


def _rename_ctes(tree: Query) -> set[str]:
    names = {cte.alias.lower(): f"with_{number}" for number, cte in enumerate(tree.find_all(exp.CTE))}
    for table in tree.find_all(exp.Table):
        known = names.get(table.name.lower())
        if known:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
            table.set("this", exp.to_identifier(known))
    for cte in tree.find_all(exp.CTE):
        cte.args["alias"].set("this", exp.to_identifier(names[cte.alias.lower()]))
    return set(names.values())


def _subselect(view: View, table: exp.Table, scope: Scope, tables: Mapping[str, Table], parameters: _Parameters) -> exp.Subquery:
    columns = ", ".join(f"{each.expression} AS {each.name}" for each in view.readable(everything=scope.everything))
    made = cast("exp.Select", sqlglot.parse_one(f"SELECT {columns} FROM {view.body}", read=DIALECT))  # noqa: S608 - texts of our own
    for source in list(made.find_all(exp.Table)):
        innermost = cast("exp.Select", source.find_ancestor(exp.Select))
        for condition in _conditions(view, scope, parameters):
            innermost.where(condition, copy=False)
        source.replace(_qualified(tables[view.source]))
    alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(view.name))
    return exp.Subquery(this=made, alias=alias.copy())


def _conditions(view: View, scope: Scope, parameters: _Parameters) -> list[exp.Condition]:
    found: list[exp.Condition] = []
    if scope.merchants is not None:
        # An empty list is no list: it would be no SQL, and must never be no filter.
        if not scope.merchants:
            raise RefusedError("the query is for no merchant", what="merchants")
        found.append(exp.In(this=exp.column("merchant_id"), expressions=[parameters.of(each) for each in scope.merchants]))
    if view.timed:
        found.append(exp.GTE(this=exp.column("window_start"), expression=parameters.of(scope.start)))
        found.append(exp.LT(this=exp.column("window_start"), expression=parameters.of(scope.end)))
    return found


def _qualified(table: Table) -> exp.Table:
    name, *above = (exp.to_identifier(part) for part in reversed(table.path))
    named = exp.Table(this=name, **dict(zip(("db", "catalog"), above, strict=False)))
    if table.snapshot is not None:
        named.set("version", exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(table.snapshot)))
    return named


def _sealed(tree: Query, own: set[str], tables: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The lake's tables in a finished tree, once more: nothing but those and our own common table expressions may be in it."""
    found = set()
    for table in tree.find_all(exp.Table):
        path = tuple(part.name for part in table.parts)
        if path in tables:
            found.add(path)
        elif path not in {(name,) for name in own}:
            raise RefusedError(f"the table {'.'.join(path)!r:.60} is no view", what="table", allowed=list(VIEWS))
    return found
