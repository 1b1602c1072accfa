"""A planned operation gives what graphql-core gives: data, errors and what resolvers are told, on generated documents."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from graphql import (
    ExecutionResult,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_enum_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    parse,
    specified_rules,
    validate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_graphql.http.documents import Documents
from millrace_graphql.http.execution import run
from millrace_graphql.http.planned import execute
from millrace_graphql.http.plans import MOST_SELECTIONS, compiled
from millrace_graphql.schema.query import build_schema as own_schema
from millrace_graphql.settings import ApiSettings
from tests.support.examples import examples

COMMON = """
  count(by: Int = 3, times: Int): Int!
  maybe: Int
  text(of: String, kind: Kind = RED, at: Int! = 5): String
  tagged(tags: [String!] = ["x"], filter: Filter): String!
  child(id: Int! = 1): Node
  sure: Node!
  many(first: Int = 2): [Node]
  all: [Node!]!
  grid: [[Int!]]
  kinds: [Kind!]
  shape: Shape
"""
SCHEMA = build_schema(
    f"enum Kind {{ RED GREEN }} input Filter {{ low: Int = 1, name: String! }} interface Shape {{ area: Int }}"
    f" type Circle implements Shape {{ area: Int radius: Int! }} type Square implements Shape {{ area: Int side: Int }}"
    f" type Node {{ {COMMON} }} type Query {{ {COMMON} }} type Mutation {{ bump: Int }}"
)
OUTCOMES = ("value",) * 10 + ("later",) * 4 + ("null", "raises", "raises later", "is an error", "wrong", "iterator")
VARIABLES = {"yes": True, "no": False, "n": 4, "s": "text", "k": "GREEN"}
DECLARED = "$yes: Boolean!, $no: Boolean = false, $n: Int, $s: String, $k: Kind = RED, $absent: Int"


def value_of(of: Any, info: Any, args: Any, chosen: int) -> Any:
    """A value of a type that shows what the resolver was told."""
    if is_non_null_type(of):
        return value_of(of.of_type, info, args, chosen)
    if is_list_type(of):
        return [value_of(of.of_type, info, args, chosen + n) for n in range(chosen % 3)]
    if is_enum_type(of):
        return ("RED", "GREEN")[chosen % 2]
    if is_leaf_type(of):
        return chosen if str(of) == "Int" else f"{info.field_name} {json.dumps(args, sort_keys=True)}"
    return {"__typename": ("Circle", "Square")[chosen % 2]}


def resolver(seed: int, heard: list[Any]) -> Callable[..., Any]:
    """Resolves any field to what its seed, place and arguments say, and notes what it was told."""

    def resolve(source: Any, info: Any, **args: Any) -> Any:
        told = [seed, info.path.as_list(), sorted(args.items())]
        chosen = int.from_bytes(hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()[:4], "big")
        kind = OUTCOMES[chosen % len(OUTCOMES)] if seed else "value"
        types = (str(info.return_type), info.parent_type.name, names(info.path))
        nodes = [node.loc.start for node in info.field_nodes]
        heard.append((*told, types, nodes, info.variable_values, info.context, sorted(info.fragments), info.operation.operation.value))
        value = value_of(info.return_type, info, args, chosen >> 8)
        failure = ValueError(f"{info.field_name} fails")
        if kind == "raises":
            raise failure
        made = {"null": None, "raises later": failure, "is an error": failure, "wrong": object()}.get(kind, value)
        if kind == "iterator" and isinstance(value, list):
            return iter(value)

        async def later() -> Any:
            if kind == "raises later":
                raise failure
            return made

        return later() if "later" in kind else made

    return resolve


def names(path: Any) -> list[Any]:
    found = []
    while path is not None:
        found.append(path.typename)
        path = path.prev
    return found


def resolving(seed: int, heard: list[Any]) -> None:
    for of in SCHEMA.type_map.values():
        if isinstance(of, GraphQLObjectType) and not of.name.startswith("__"):
            for field in of.fields.values():
                field.resolve = resolver(seed, heard)


CONDITIONS = st.sampled_from(["", "", "", "@skip(if: $yes)", "@include(if: $yes)", "@include(if: $no)", "@skip(if: true)"])
ARGUMENTS = {
    "count": ["", "(by: $n)", "(by: 7, times: $absent)", "(by: null)", "(times: $n)"],
    "text": ["", "(of: $s)", "(kind: $k, of: null)", '(kind: GREEN, of: "x", at: 2)', "(at: $n)"],
    "tagged": ["", "(tags: $s)", '(tags: ["a", "b"])', '(filter: {name: "f"})', "(filter: {name: $s, low: $n})"],
    "child": ["", "(id: 2)", "(id: $n)"],
    "many": ["", "(first: $n)", "(first: $absent)"],
}


@st.composite
def selections(draw: st.DrawFn, of: str, fragments: list[str], depth: int) -> str:
    """A selection set of a type, with aliases, directives, inline fragments and spreads."""
    fields = list(SCHEMA.type_map[of].fields)  # type: ignore[attr-defined]
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["field"] * 6 + ["inline", "spread"])) if depth else "field"
        condition = draw(CONDITIONS)
        if kind == "inline":
            on = draw(st.sampled_from(["", f"on {of}"]))
            parts.append(f"... {on} {condition} {draw(selections(of, fragments, depth - 1))}")
        elif kind == "spread":
            body = draw(selections(of, fragments, depth - 1))
            fragments.append(f"fragment F{len(fragments)} on {of} {body}")
            parts += [f"...F{len(fragments) - 1} {condition}"] * draw(st.integers(1, 2))
        else:
            name = draw(st.sampled_from([*fields, "__typename"]))
            alias = draw(st.sampled_from(["", "", "a: ", "b: "]))
            below = ""
            field = SCHEMA.type_map[of].fields.get(name)  # type: ignore[attr-defined]
            if field is not None and not is_leaf_type(get_named_type(field.type)):
                if depth == 0:
                    continue
                inner = get_named_type(field.type).name
                below = draw(selections(inner, fragments, depth - 1)) if inner == "Node" else "{ area ... on Circle { radius } __typename }"
            parts.append(f"{alias}{name}{draw(st.sampled_from(ARGUMENTS.get(name, [''])))} {condition} {below}")
    return "{ " + " ".join(parts or ["maybe"]) + " }"


@st.composite
def documents(draw: st.DrawFn) -> str:
    fragments: list[str] = []
    body = draw(selections("Query", fragments, 3))
    return f"query Q({DECLARED}) {body} {' '.join(fragments)}"


# Variables that a document does not use are no fault here.
RULES = [rule for rule in specified_rules if "Unused" not in rule.__name__]


def outcome(result: Any, heard: list[Any]) -> tuple[str, list[Any], list[str]]:
    """Everything of a result that a caller sees, and with no error also what resolvers were told."""
    if isinstance(result, list):
        return "refused", [error.formatted for error in result], []
    assert isinstance(result, ExecutionResult)
    calls = [] if result.errors else sorted(map(repr, heard))
    return json.dumps(result.data), [error.formatted for error in result.errors or []], calls


async def both(schema: GraphQLSchema, text: str, variables: dict[str, Any], seed: int) -> tuple[Any, Any]:
    document = parse(text)
    assert not validate(schema, document, RULES)
    plan = compiled(schema, document, None)
    assert plan is not None
    found = []
    for each in (None, plan):
        heard: list[Any] = []
        resolving(seed, heard)
        found.append(outcome(await execute(schema, document, each, variables, None, "context", {"root": 1}), heard))  # type: ignore[arg-type]
    return found[0], found[1]


# Both ways leave the coroutines of an object's other fields where a field that may not be null fails at once.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=examples(37), deadline=None)
@given(
    documents(), st.fixed_dictionaries({"yes": st.booleans()}, optional={"no": st.booleans(), "n": st.integers(0, 9)}), st.integers(0, 999)
)
def test_a_plan_gives_what_graphql_core_gives(text: str, chosen: dict[str, Any], seed: int) -> None:
    if validate(SCHEMA, parse(text), RULES):
        return  # two aliases for different fields, say: such a document is never run
    expected, planned = asyncio.run(both(SCHEMA, text, {**VARIABLES, **chosen} if seed % 3 else chosen, seed))
    assert planned == expected


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"yes": None},
        {"yes": "no"},
        {"yes": True, "n": 2.5},
        {"yes": True, "k": "BLUE"},
        {"yes": True, "k": None},
        {"yes": True, "other": 1},
    ],
)
def test_variables_are_taken_and_refused_alike(variables: dict[str, Any]) -> None:
    text = f"query Q({DECLARED}) {{ maybe @include(if: $yes) text(kind: $k) count(by: $n) }}"
    expected, planned = asyncio.run(both(SCHEMA, text, variables, 0))
    assert planned == expected


def test_lists_and_objects_as_variables_are_graphql_cores() -> None:
    text = 'query($t: [String!] = ["d"], $f: Filter) { tagged(tags: $t, filter: $f) }'
    for variables in ({}, {"t": "one"}, {"t": ["a"], "f": {"name": "n"}}, {"f": {"low": 3}}):
        expected, planned = asyncio.run(both(SCHEMA, text, variables, 0))
        assert planned == expected


def test_the_introspection_query_is_the_same_by_plan() -> None:
    from graphql import get_introspection_query

    document = parse(get_introspection_query())
    schema = own_schema()
    plan = compiled(schema, document, None)

    async def ask() -> list[Any]:
        return [outcome(await execute(schema, document, each, {}, None, None), []) for each in (None, plan)]  # type: ignore[arg-type]

    expected, planned = asyncio.run(ask())
    assert planned == expected
    assert "ReportsChanged" in planned[0]


def test_a_plan_keeps_a_bounded_number_of_selections() -> None:
    names_ = [f"v{n}" for n in range(6)]
    declared = ", ".join(f"${name}: Boolean!" for name in names_)
    document = parse(f"query({declared}) {{ {' '.join(f'{name}: maybe @include(if: ${name})' for name in names_)} maybe }}")
    plan = compiled(SCHEMA, document, None)
    assert plan is not None
    resolving(0, [])
    for number in range(2 ** len(names_)):
        variables = {name: bool(number >> n & 1) for n, name in enumerate(names_)}
        expected = asyncio.run(run(SCHEMA, document, variables, None, None))  # type: ignore[arg-type]
        planned = asyncio.run(execute(SCHEMA, document, plan, variables, None, None))  # type: ignore[arg-type]
        assert outcome(planned, []) == outcome(expected, [])
    assert len(plan.selections) == MOST_SELECTIONS


def test_an_operation_is_planned_when_it_is_asked_for_again_and_a_mutation_never() -> None:
    kept = Documents(SCHEMA, ApiSettings())
    document = kept.get("query A { maybe } query B { maybe }")
    assert kept.plan(document, "A") is None
    plan = kept.plan(document, "A")
    assert plan is not None
    assert (kept.plan(document, "A"), kept.plan(document, "B"), kept.plan(document, "C")) == (plan, None, None)
    assert document.asked == {"A", "B"}, "names that are no operation leave nothing behind"
    mutation = kept.get("mutation { bump }")
    assert [kept.plan(mutation, None) for _ in range(3)] == [None] * 3
    off = Documents(SCHEMA, ApiSettings(plans=False))
    assert [off.plan(off.get("{ maybe }"), None) for _ in range(3)] == [None] * 3
