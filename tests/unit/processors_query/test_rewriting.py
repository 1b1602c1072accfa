"""Every accepted query reads the caller's rows only (I9): rewritten, it is run by DuckDB over the facts of two tenants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from millrace_processors.query.errors import RefusedError
from millrace_processors.query.rewriting import Scope, Statement, Table, rewrite
from tests.support.examples import examples
from tests.unit.processors_query.history import DAYS, T0, facts, newest
from tests.unit.processors_query.questions import sources

OURS, THEIRS = ("m1", "m2"), ("m3", "secret")
ROWS = facts(11, [*OURS, *THEIRS], 150)
ALL = (T0 - timedelta(days=1), T0 + timedelta(days=DAYS + 2))
TABLES = {"facts": Table(("facts_table",)), "merchants": Table(("history_table",))}
LAKE = {"facts": Table(("lake", "shop", "facts"), 17), "merchants": Table(("lake", "shop", "merchants"))}


def database(rows: list[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    stored = pa.Table.from_pylist(rows, _schema())
    made.register("rows", stored)
    made.execute("CREATE TABLE facts_table AS SELECT * FROM rows")
    # Spark's function by DuckDB's own; sqlglot knows the rest.
    made.execute("CREATE MACRO sha2(text, bits) AS sha256(text)")
    return made


def _schema() -> pa.Schema:
    kinds = {"window_start": pa.timestamp("us", "UTC"), "occurred_at": pa.timestamp("us", "UTC"), "retracted": pa.bool_()}
    kinds |= dict.fromkeys(("amount", "points_used", "points_earned", "version"), pa.int64())
    return pa.schema([(name, kinds.get(name, pa.string())) for name in ROWS[0]])


@pytest.fixture(scope="module")
def everyone() -> Iterator[duckdb.DuckDBPyConnection]:
    made = database(ROWS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ours_alone() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in which no other tenant has ever been."""
    made = database([row for row in ROWS if row["merchant_id"] in OURS])
    yield made
    made.close()


def scope(merchants: tuple[str, ...] | None = OURS, everything: bool = False, span: tuple[datetime, datetime] = ALL) -> Scope:
    return Scope(merchants, everything, *span)


def answer(made: duckdb.DuckDBPyConnection, statement: Statement) -> Counter[tuple[Any, ...]]:
    """The rows of a statement, which is Spark's, in DuckDB's words."""
    (sql,) = sqlglot.transpile(statement.sql, read="spark", write="duckdb")
    used = {name: value for name, value in statement.parameters.items() if f"${name}" in sql}
    return Counter(made.execute(sql, used or None).fetchall())


@settings(max_examples=examples(15))
@given(sources())
def test_a_query_sees_what_it_would_see_if_no_other_tenant_existed(
    everyone: duckdb.DuckDBPyConnection, ours_alone: duckdb.DuckDBPyConnection, sql: str
) -> None:
    ordered = f"SELECT s.merchant, count(*) AS rows_of_it FROM ({sql}) AS s GROUP BY s.merchant"
    statement = rewrite(ordered, scope(), TABLES)
    found = answer(everyone, statement)
    assert {row[0] for row in found} <= {*OURS, None}
    if "row_number" not in sql:
        assert found == answer(ours_alone, statement)


def test_the_questions_of_chance_do_see_other_tenants_where_nothing_is_filtered(everyone: duckdb.DuckDBPyConnection) -> None:
    seen = answer(everyone, rewrite("SELECT DISTINCT merchant_id FROM payments", scope(None), TABLES))
    assert {row[0] for row in seen} == {*OURS, *THEIRS}


def test_the_views_hold_the_newest_facts_within_the_range(everyone: duckdb.DuckDBPyConnection) -> None:
    span = (T0 + timedelta(days=3), T0 + timedelta(days=6))
    found = answer(everyone, rewrite("SELECT payment_id, kind, amount FROM payments", scope(span=span), TABLES))
    expected = [row for row in newest(ROWS, set(OURS)) if span[0] <= row["window_start"] < span[1]]
    assert found == Counter((row["payment_id"], row["kind"], row["amount"]) for row in expected)


def test_every_table_of_the_lake_is_filtered_where_it_is_read() -> None:
    sql = "WITH a AS (SELECT * FROM payments) SELECT * FROM a JOIN reports USING (merchant_id) WHERE EXISTS (SELECT 1 FROM merchants)"
    statement = rewrite(sql, scope(), LAKE)
    tree = sqlglot.parse_one(statement.sql, read="spark")
    lake = [table for table in tree.find_all(exp.Table) if table.catalog == "lake"]
    assert len(lake) == 3
    for table in lake:
        select = table.find_ancestor(exp.Select)
        assert select is not None
        condition = select.args["where"].this.sql("spark")
        assert "`merchant_id` IN (" in condition
        assert ("`window_start` >= " in condition) == (table.name == "facts")
    assert statement.tables == {("lake", "shop", "facts"), ("lake", "shop", "merchants")}


def test_a_table_is_read_at_the_snapshot_that_is_named() -> None:
    assert rewrite("SELECT 1 FROM payments", scope(), LAKE).sql.count("`lake`.`shop`.`facts` VERSION AS OF 17") == 1


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_of_the_caller_stands_in_the_statement(merchant: str, text: str) -> None:
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    try:
        statement = rewrite(f"SELECT {quoted} AS x FROM payments", scope((merchant,)), LAKE)
    except RefusedError:
        return
    assert {merchant, text} <= set(map(str, statement.parameters.values()))
    plain = rewrite("SELECT 'a' AS x FROM payments", scope(("b",)), LAKE)
    assert re.sub(r":p\d+", ":p", statement.sql) == re.sub(r":p\d+", ":p", plain.sql)


def test_comments_and_hints_in_comments_are_left_out() -> None:
    statement = rewrite("SELECT /* one */ amount -- two\nFROM payments /* + BROADCAST(x) */", scope(), LAKE)
    assert "/*" not in statement.sql
    assert "--" not in statement.sql


def test_common_tables_get_names_of_our_own() -> None:
    statement = rewrite("WITH facts AS (SELECT amount FROM payments) SELECT facts.amount FROM facts", scope(), LAKE)
    assert "FROM `with_0` AS `facts`" in statement.sql


def test_a_query_for_no_merchant_is_refused_and_never_unfiltered() -> None:
    with pytest.raises(RefusedError):
        rewrite("SELECT 1 FROM payments", scope(()), LAKE)


def test_a_star_gives_the_columns_of_the_caller_only() -> None:
    everything = rewrite("SELECT * FROM payments", scope(everything=True), LAKE).sql
    assert "`gender`" in everything
    narrow = rewrite("SELECT * FROM payments", scope(), LAKE).sql
    assert "`gender`" not in narrow
    assert "`country`" not in narrow


@pytest.mark.parametrize(
    "written",
    [
        "timestampadd ( DAY , 1 , `occurred_at` )",
        "DATE '2026-11-01'",
        "`occurred_at` - INTERVAL '7' DAYS",
        "INTERVAL '1-2' YEAR TO MONTH",
        "CAST ( 1.5BD AS DECIMAL ( 9 , 2 ) ) :: string",
        "Count ( DISTINCT `amount` ) FILTER ( WHERE `amount` == 1 )",
        "first ( `amount` ) IGNORE NULLS OVER ( ORDER BY `amount` ROWS BETWEEN 1 PRECEDING AND CURRENT ROW )",
        "NOT " * 90 + "TRUE",
    ],
)
def test_the_engine_reads_the_callers_own_words(written: str) -> None:
    assert rewrite(f"SELECT {written} AS x FROM payments", scope(), LAKE).sql.startswith(f"SELECT {written} AS `x` FROM (")


def test_every_text_is_a_parameter_whatever_it_is_for() -> None:
    statement = rewrite("SELECT date_format(occurred_at, 'HH''h''') AS x, 'O''Brien' AS y FROM payments", scope(), LAKE)
    names = {value: name for name, value in statement.parameters.items() if isinstance(value, str)}
    assert f"""date_format ( `occurred_at` , :{names["HH'h'"]} ) AS `x` , :{names["O'Brien"]} AS `y`""" in statement.sql


def test_the_range_is_given_as_instants() -> None:
    values = rewrite("SELECT 1 FROM payments", scope(), LAKE).parameters.values()
    assert [value for value in values if isinstance(value, datetime)] == list(ALL)
    assert all(value.tzinfo is UTC for value in values if isinstance(value, datetime))
