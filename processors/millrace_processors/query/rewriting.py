"""The caller's rows and range of time put into a checked query (I9). Pure.

The engine reads the caller's own words: the lexemes that ``guard`` has looked up, written again one by one. In the place of each view
stands a subselect over the lake's table with the filter at its innermost FROM. Every text becomes a parameter, so that no quoting has to
be right; common table expressions get names of our own, so that a name which is none of ours finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import sqlglot
from sqlglot import exp

from millrace_processors.query import grammar
from millrace_processors.query.errors import RefusedError
from millrace_processors.query.guard import Checked, Query, check
from millrace_processors.query.text.lexemes import Kind
from millrace_processors.query.views import VIEWS, View

SPARK = "spark"


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
    """What the engine runs: ``sql`` with named parameters, and the full names of the tables that it may read.

    ``everything``: whether its caller may be told of every merchant's rows.
    """

    sql: str
    parameters: dict[str, Any]
    tables: frozenset[tuple[str, ...]]
    everything: bool = False


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


def rewrite(sql: str, scope: Scope, tables: Mapping[str, Table]) -> Statement:
    """A caller's SQL as the engine's statement. ``tables``: the lake's tables by their short names.

    Raises:
        RefusedError: the query is not allowed (see ``guard``).
    """
    query = check(sql, everything=scope.everything)
    parameters = _Parameters()
    sources = _Sources(scope, tables, parameters)
    names = _own_names(query.tree) | {table.this.meta["start"]: sources.of(table) for table in query.tree.find_all(exp.Table)}
    written = _written(query, names, parameters)
    return Statement(" ".join(written), parameters.values, frozenset(sources.read), scope.everything)


def _written(query: Checked, names: Mapping[int, str], parameters: _Parameters) -> Iterator[str]:
    """The lexemes one by one: names in backticks or in our words, texts as parameters; ``guard`` has looked up the others."""
    before = ""
    for lexeme in query.lexemes:
        if lexeme.start in names:
            yield names[lexeme.start]
        elif lexeme.start in query.names:
            yield f"`{lexeme.value}`"
        elif lexeme.kind is Kind.TEXT:
            # A typed literal has to stand in the text; ``guard`` has seen that it is plain.
            yield f"'{lexeme.value}'" if before in grammar.TYPED_TEXTS else f":{parameters.of(lexeme.value).name}"
        elif lexeme.value != ";":
            yield lexeme.value
        before = "" if lexeme.start in query.names else lexeme.word()


def _own_names(tree: Query) -> dict[int, str]:
    """The names of common table expressions where they are given, as ours."""
    return {cte.args["alias"].this.meta["start"]: f"`with_{number}`" for number, cte in enumerate(tree.find_all(exp.CTE))}


@dataclass(frozen=True)
class _Sources:
    """What stands for each table of a query; ``read`` collects the tables of the lake in it."""

    scope: Scope
    tables: Mapping[str, Table]
    parameters: _Parameters
    read: set[tuple[str, ...]] = field(default_factory=set)

    def of(self, table: exp.Table) -> str:
        """A view's subselect, or the own name of a common table expression, under the alias that it has in the query."""
        view = VIEWS.get(table.name.lower())
        if view is not None:
            self.read.add(self.tables[view.source].path)
            found = f"( {_subselect(view, self.scope, self.tables, self.parameters).sql(SPARK, identify=True)} )"
        else:
            common = enumerate(table.root().find_all(exp.CTE))
            found = next(f"`with_{number}`" for number, cte in common if cte.alias.lower() == table.name.lower())
        return found if table.alias else f"{found} AS `{table.name}`"


def _subselect(view: View, scope: Scope, tables: Mapping[str, Table], parameters: _Parameters) -> exp.Select:
    columns = ", ".join(f"{each.expression} AS {each.name}" for each in view.readable(everything=scope.everything))
    made = cast("exp.Select", sqlglot.parse_one(f"SELECT {columns} FROM {view.body}", read=SPARK))  # noqa: S608 - texts of our own
    for source in list(made.find_all(exp.Table)):
        innermost = cast("exp.Select", source.find_ancestor(exp.Select))
        for condition in _conditions(view, scope, parameters):
            innermost.where(condition, copy=False)
        source.replace(_qualified(tables[view.source]))
    return made


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
