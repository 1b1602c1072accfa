"""One definition a metric: GraphQL, REST, OpenAPI and CSV hold the same metrics, and the schema changes only on purpose."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphql import GraphQLError, GraphQLObjectType, GraphQLSchema, find_breaking_changes, print_schema
from graphql import build_schema as build_sdl
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from millrace_contracts.facts import DIMENSIONS
from millrace_contracts.metrics import BY_NAME, METRICS, Unit
from millrace_contracts.reports import BREAKDOWNS, COUNTERS
from millrace_graphql.ranges.answers import Freshness, Series
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.columns import Group, table
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.plan import Range
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS, groups_for
from millrace_graphql.rest import metrics_page, openapi
from millrace_graphql.rest.bodies import report_json, series_json
from millrace_graphql.rest.export import CSV_HEADER, csv_lines
from millrace_graphql.schema.query import build_schema
from millrace_graphql.schema.scalars import BigInt, DateTime

GOLDEN = Path(__file__).parent / "schema.graphql"
RELEASED = Path(__file__).parent / "schema.released.graphql"
METRICS_PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
NAMES = [metric.name for metric in METRICS]


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema()


def fields(schema: GraphQLSchema, name: str) -> dict[str, str]:
    found = schema.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return {field: str(definition.type) for field, definition in found.fields.items()}


def series(progress: Progress | None = None) -> Series:
    columns: dict[str, Any] = {name: np.array([1], np.int64) for name in (*COUNTERS, "revision")}
    columns |= {name: [{"card": [1, 1]}] for name in BREAKDOWNS} | {"customers": [b""], "amounts": [b""]}
    rows = {group: table(group, (np.array([0], np.int64), ["USD"]), columns) for group in Group}
    asked = Range(0, 1_200_000, Grain.TEN_MINUTES)
    return Series("=m1", "USD", asked, False, rows, Freshness(progress or Progress(5, 600_000), asked))


def test_the_schema_is_the_golden_file(schema: GraphQLSchema) -> None:
    text = print_schema(schema) + "\n"
    if os.environ.get("MILLRACE_RENEW_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "a change of the schema is made on purpose: MILLRACE_RENEW_GOLDEN=1 writes the golden file"


def test_no_client_of_the_released_schema_breaks(schema: GraphQLSchema) -> None:
    # schema.released.graphql is what clients have been written against; a release writes it anew.
    now = build_sdl(print_schema(schema))
    assert [change.description for change in find_breaking_changes(build_sdl(RELEASED.read_text()), now)] == []


def elements(schema: GraphQLSchema) -> Iterator[tuple[str, Any]]:
    """Every type, field, argument and value of a schema, by its name."""
    for name, kind in schema.type_map.items():
        if not name.startswith("__"):
            yield name, kind
            for part, definition in {**getattr(kind, "fields", {}), **getattr(kind, "values", {})}.items():
                yield f"{name}.{part}", definition
                for argument, given_one in getattr(definition, "args", {}).items():
                    yield f"{name}.{part}({argument})", given_one


def bad_deprecations(schema: GraphQLSchema) -> list[str]:
    """What is deprecated without a reason of some words and the date until when it stays."""
    reasons = {name: getattr(each, "deprecation_reason", None) for name, each in elements(schema)}
    good = re.compile(r"(?=.*\b20\d\d-\d\d-\d\d\b)(\S+\s+){3,}\S+")
    return [name for name, reason in reasons.items() if reason is not None and not good.match(reason)]


def test_a_deprecation_says_why_and_until_when(schema: GraphQLSchema) -> None:
    assert bad_deprecations(schema) == []
    sample = build_sdl("""
      type Query {
        a: Int @deprecated
        b: Int @deprecated(reason: "2027-01-31")
        c: Int @deprecated(reason: "take d, which says the same in minor units")
        d(e: Int @deprecated(reason: "nobody needs it")): Int
        f: Kind @deprecated(reason: "take d instead; it goes after 2027-01-31")
      }
      enum Kind { G @deprecated(reason: "soon") H }
    """)
    assert bad_deprecations(sample) == ["Query.a", "Query.b", "Query.c", "Query.d(e)", "Kind.G"]


def test_every_type_field_argument_and_value_says_what_it_is(schema: GraphQLSchema) -> None:
    assert [name for name, each in elements(schema) if not (each.description or "").strip()] == []


@pytest.mark.parametrize("type_name", ["SeriesColumns", "Report", "Totals"])
def test_every_metric_is_a_field_of_each_graphql_type(schema: GraphQLSchema, type_name: str) -> None:
    found = fields(schema, type_name)
    assert [name for name in found if name in BY_NAME] == NAMES


def test_money_and_points_are_never_an_int_or_float(schema: GraphQLSchema) -> None:
    # I10
    for type_name in ("SeriesColumns", "Report", "Totals"):
        for metric in METRICS:
            scalar = re.sub(r"[\[\]!]", "", fields(schema, type_name)[metric.name])
            expected = {Unit.MONEY: "BigInt", Unit.POINTS: "BigInt", Unit.COUNT: "Int", Unit.FRACTION: "Float"}[metric.unit]
            assert scalar == expected, (type_name, metric.name)


def test_rest_openapi_and_csv_hold_the_same_metrics() -> None:
    schemas = openapi.document()["components"]["schemas"]
    body = series_json(series(), "UTC")
    assert [name for name in schemas["SeriesColumns"]["properties"] if name in BY_NAME] == NAMES
    assert [name for name in schemas["Report"]["properties"] if name in BY_NAME] == NAMES
    assert list(body["points"]) == list(schemas["SeriesColumns"]["properties"])
    assert list(body["totals"]) == list(schemas["Totals"]["properties"])
    assert list(body) == list(schemas["Series"]["properties"])
    assert list(report_json(series())) == list(schemas["Report"]["properties"])
    assert list(CSV_HEADER[4:]) == [*NAMES, "revision"]


def test_rest_and_graphql_hold_the_same_fields(schema: GraphQLSchema) -> None:
    schemas = openapi.document()["components"]["schemas"]
    for name in ("SeriesColumns", "Totals", "Report", "Freshness", "Merchant", "BreakdownSlice"):
        assert set(schemas[name]["properties"]) == set(fields(schema, name)), name


def test_the_openapi_document_is_valid() -> None:
    validate(openapi.document())  # type: ignore[arg-type]


def test_the_documentation_page_loads_nothing_from_elsewhere() -> None:
    page = openapi.page()
    assert "http" not in page.lower().replace("get /v1", "")
    assert all(metric.doc.split(";")[0] in page for metric in METRICS if "%" not in metric.doc)


def test_the_page_of_metrics_is_made_from_the_definitions() -> None:
    text = metrics_page.page()
    if os.environ.get("MILLRACE_RENEW_GOLDEN"):
        METRICS_PAGE.write_text(text)
    assert text == METRICS_PAGE.read_text(), "MILLRACE_RENEW_GOLDEN=1 writes docs/metrics.md"
    assert all(f"| `{metric.name}` | {metric.unit} | {metric.kind} | {metric.doc} | {metric.formula} |" in text for metric in METRICS)


def test_every_dimension_has_a_breakdown_field() -> None:
    assert list(BREAKDOWN_FIELDS.values()) == [f"by_{dimension}" for dimension in DIMENSIONS]


def test_sums_need_no_sketch_and_each_other_field_its_own_group() -> None:
    assert groups_for(["payments", "net", "averagePayment", "start", "unknown"]) == {Group.COUNTERS}
    assert groups_for(["customers"]) == {Group.COUNTERS, Group.CUSTOMERS}
    assert groups_for(["p95Amount"]) == {Group.COUNTERS, Group.AMOUNTS}
    assert groups_for(["byMethod"]) == {Group.COUNTERS, Group.BREAKDOWNS}
    assert groups_for(["byAgeBand"]) == {Group.COUNTERS, Group.BREAKDOWNS, Group.CUSTOMERS}


def test_a_window_is_missing_while_the_analysis_has_not_read_past_its_end() -> None:
    # I13: two windows, 00:00 and 00:10.
    assert series(Progress(0, 600_000)).freshness.missing() == [600_000]
    assert series(Progress(0, 599_999)).freshness.missing() == [0, 600_000]
    assert series(Progress(0, 1_200_000)).freshness.missing() == []
    assert series(Progress(0, None)).freshness.missing() == [0, 600_000]


def test_a_merchant_id_can_not_be_a_formula_in_a_spreadsheet() -> None:
    assert csv_lines(series()).splitlines()[0].startswith("1970-01-01T00:00:00Z,'=m1,USD,TEN_MINUTES,1,1,")


@given(st.integers(-(10**30), 10**30))
def test_a_big_int_survives_text_and_back(value: int) -> None:
    assert BigInt.parse_value(BigInt.serialize(value)) == value


@pytest.mark.parametrize("value", [1.5, True, "1.5", "", None, "ten"])
def test_a_big_int_is_no_float(value: object) -> None:
    with pytest.raises(GraphQLError, match="not a BigInt"):
        BigInt.parse_value(value)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-24T09:30:00Z", "2026-11-24T09:30:00+00:00"),
        ("2026-11-24t18:30:00.5+09:00", "2026-11-24T09:30:00.500000+00:00"),
        ("2024-02-29T00:00:00z", "2024-02-29T00:00:00+00:00"),
    ],
)
def test_an_instant_with_any_offset_is_taken(text: str, instant: str) -> None:
    assert DateTime.parse_value(text).isoformat() == instant


@pytest.mark.parametrize(
    "text", ["2026-11-24", "2026-11-24T09:30:00", "2023-02-29T00:00:00Z", "20261124T093000Z", 5, "", "0001-01-01T00:00:00+09:00"]
)
def test_an_instant_without_offset_or_of_no_calendar_is_refused(text: object) -> None:
    with pytest.raises(GraphQLError, match="RFC 3339"):
        DateTime.parse_value(text)
