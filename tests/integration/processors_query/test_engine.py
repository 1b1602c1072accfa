"""Queries on a real Spark and a real lake: what they see, what they cost, and what ends them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from millrace_processors.query.engine import SAFETY, Answer, Limits
from millrace_processors.query.errors import CancelledError, FailedError, QueryError, RefusedError, TooLargeError
from millrace_processors.query.results import Page, as_csv, as_json
from millrace_processors.query.rewriting import Scope, Statement, rewrite
from millrace_processors.query.text.forms import text
from tests.integration.processors_query.conftest import ALONE, Filled
from tests.unit.processors_query.history import DAYS, T0, newest

pytestmark = pytest.mark.stack
LIMITS = Limits(rows_read=1_000_000, result_rows=1_000, result_bytes=10_000_000)
ALL = (T0 - timedelta(days=1), T0 + timedelta(days=DAYS + 2))


def ask(
    filled: Filled,
    sql: str,
    merchants: tuple[str, ...] | None = ("m1", "m2"),
    span: tuple[datetime, datetime] = ALL,
    limits: Limits = LIMITS,
    everything: bool = False,
) -> Answer:
    statement = rewrite(sql, Scope(merchants, everything, *span), filled.engine.sources().tables)
    return filled.engine.run("job", "tenant", statement, limits, lambda: False)


def rows(answer: Answer) -> list[dict[str, Any]]:
    return list(answer.table.to_pylist())


def test_payments_are_the_newest_facts_of_the_callers_merchants(filled: Filled) -> None:
    found = rows(ask(filled, "SELECT payment_id, kind, merchant_id, window_start, occurred_at, currency, amount, method FROM payments"))
    expected = newest(filled.rows, {"m1", "m2"})
    names = ("payment_id", "kind", "merchant_id", "window_start", "occurred_at", "currency", "amount", "method")
    assert Counter(tuple(row[name] for name in names) for row in found) == Counter(tuple(row[name] for name in names) for row in expected)


def test_reports_are_sums_of_the_newest_facts_of_each_window(filled: Filled) -> None:
    found = {(row["merchant_id"], row["window_start"], row["currency"]): row for row in rows(ask(filled, "SELECT * FROM reports"))}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in newest(filled.rows, {"m1", "m2"}):
        groups.setdefault((row["merchant_id"], row["window_start"], row["currency"]), []).append(row)
    assert found.keys() == groups.keys()
    for key, facts in groups.items():
        paid = [fact for fact in facts if fact["kind"] == "payment"]
        refunded = [fact["amount"] for fact in facts if fact["kind"] == "refund"]
        amounts = [fact["amount"] for fact in paid]
        assert {name: value for name, value in found[key].items() if name not in ("merchant_id", "window_start", "currency")} == {
            "payments": len(paid),
            "gross": sum(amounts),
            "refunds": len(refunded),
            "refunded_amount": sum(refunded),
            "net": sum(amounts) - sum(refunded),
            "failed": sum(fact["kind"] == "failure" for fact in facts),
            "smallest": min(amounts, default=0),
            "largest": max(amounts, default=0),
            "points_used": sum(fact["points_used"] for fact in paid),
            "points_earned": sum(fact["points_earned"] for fact in paid),
            "customers": len({fact["customer_key"] for fact in paid}),
        }


def test_merchants_are_the_newest_documents_that_are_not_deleted(filled: Filled) -> None:
    answer = ask(filled, "SELECT merchant_id, name, time_zone FROM merchants ORDER BY 1", ("m1", "m2", "m3"))
    assert rows(answer) == [
        {"merchant_id": "m1", "name": "Shop One", "time_zone": "Europe/Berlin"},
        {"merchant_id": "m2", "name": "Shop m2", "time_zone": "Asia/Seoul"},
    ]


def test_joins_windows_unions_and_common_tables_work_together(filled: Filled) -> None:
    sql = """
        WITH days AS (SELECT merchant_id, date_trunc('day', window_start) AS day, sum(amount) AS total FROM payments
                      WHERE kind = 'payment' AND method LIKE 'c%' GROUP BY 1, 2)
        SELECT m.name, d.day, d.total, sum(d.total) OVER (PARTITION BY d.merchant_id ORDER BY d.day
               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far
        FROM days d JOIN merchants AS m ON m.merchant_id = d.merchant_id
        WHERE d.total >= (SELECT min(total) FROM days)
        UNION ALL SELECT 'none', current_timestamp(), 0, 0
        ORDER BY 1, 2"""
    found = [row for row in rows(ask(filled, sql)) if row["name"] != "none"]
    totals: dict[tuple[str, datetime], int] = {}
    for fact in newest(filled.rows, {"m1", "m2"}):
        if fact["kind"] == "payment" and fact["method"] in ("card", "cash"):
            key = ({"m1": "Shop One", "m2": "Shop m2"}[fact["merchant_id"]], fact["window_start"].replace(hour=0, minute=0))
            totals[key] = totals.get(key, 0) + fact["amount"]
    assert {(row["name"], row["day"]): row["total"] for row in found} == totals
    last = {row["name"]: row["so_far"] for row in found}
    assert last == {name: sum(total for (shop, _), total in totals.items() if shop == name) for name in ("Shop One", "Shop m2")}


def test_a_range_holds_whole_windows_from_its_start_up_to_its_end(filled: Filled) -> None:
    span = (T0 + timedelta(days=2), T0 + timedelta(days=4, hours=3))
    found = rows(ask(filled, "SELECT count(*) AS n FROM payments", span=span))
    assert found[0]["n"] == sum(span[0] <= fact["window_start"] < span[1] for fact in newest(filled.rows, {"m1", "m2"}))


def test_an_analyst_sees_every_merchant_and_every_column(filled: Filled) -> None:
    found = rows(ask(filled, "SELECT merchant_id, gender, count(*) AS n FROM payments GROUP BY 1, 2", None, everything=True))
    expected = Counter((fact["merchant_id"], fact["gender"]) for fact in newest(filled.rows))
    assert {(row["merchant_id"], row["gender"]): row["n"] for row in found} == expected


def test_one_person_has_another_pseudonym_at_another_merchant(filled: Filled) -> None:
    found = rows(ask(filled, "SELECT merchant_id, customer FROM payments WHERE customer IS NOT NULL GROUP BY 1, 2"))
    of = {name: {row["customer"] for row in found if row["merchant_id"] == name} for name in ("m1", "m2")}
    facts = [fact for fact in newest(filled.rows, {"m1", "m2"}) if fact["customer_key"]]
    keys = {name: {fact["customer_key"] for fact in facts if fact["merchant_id"] == name} for name in ("m1", "m2")}
    assert {name: len(known) for name, known in of.items()} == {name: len(known) for name, known in keys.items()}
    assert keys["m1"] & keys["m2"]
    assert not of["m1"] & of["m2"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST(merchant_id AS INT) FROM payments",
        "SELECT count(*) FROM payments WHERE CAST(merchant_id AS INT) > 0",
        "SELECT count(*) FROM payments WHERE 1 / (length(merchant_id) - length('secret-merchant')) > 0",
        "SELECT count(*) FROM merchants WHERE CAST(merchant_id AS DATE) > current_date",
    ],
)
def test_an_error_of_the_engine_tells_nothing_of_another_tenants_rows(filled: Filled, sql: str) -> None:
    try:
        found = str(rows(ask(filled, sql)))
    except QueryError as error:
        found = error.message
    assert "secret" not in found
    assert "m3" not in found


@pytest.mark.parametrize("clause", ["WHERE {} > 0", "WHERE {} > 0 OR TRUE", "GROUP BY merchant_id HAVING sum({}) > 0"])
def test_an_expression_that_fails_on_others_rows_alone_never_fails(filled: Filled, clause: str) -> None:
    """Of a merchant id, a window and a currency that only somebody else has."""
    ours = newest(filled.rows, {"m1", "m2"})
    assert not any(fact["currency"] == "JPY" or fact["window_start"] == ALONE for fact in ours)
    for value in (
        "abs(length(merchant_id) - length('secret-merchant'))",
        f"abs(unix_seconds(window_start) - {int(ALONE.timestamp())})",
        "abs(instr('JPY', currency) - 1)",
    ):
        found = rows(ask(filled, f"SELECT count(*) AS n FROM payments {clause.format(f'1 / {value}')}"))
        assert sum(row["n"] for row in found) == len(ours)


FAILING = ["1/0", "1 DIV 0", "1 % 0", "CAST('a' AS INT)", "9223372036854775807 + 1", "year(DATE(make_date(2026, 2, 30)))"]
"""Constants that are whole numbers by their types, and fail when they are worked out."""


def test_constants_that_would_fail_on_no_row_are_planned_and_fail_nothing(filled: Filled) -> None:
    """Spark's planner has a loop without an end for them (SPARK-58428); the count is that of all rows, since no row takes such a branch."""
    ours = newest(filled.rows, {"m1", "m2"})
    never = "window_start >= TIMESTAMP '2099-01-01'"
    forms = ["CASE WHEN {never} THEN {bad} ELSE 1 END = 1", "if({never}, {bad}, amount) = amount", "coalesce(amount, {bad}) = amount"]
    forms += ["1 / CASE WHEN {never} THEN {bad} ELSE 1 END > 0", "NOT (CASE WHEN {never} THEN {bad} ELSE amount END < 0)"]
    where = " AND ".join(form.format(never=never, bad=bad) for form in forms for bad in FAILING)
    assert rows(ask(filled, f"SELECT count(*) AS n FROM payments WHERE {where}")) == [{"n": len(ours)}]
    inside = f"SELECT count(*) AS n FROM payments WHERE amount IN (SELECT amount FROM payments WHERE {where})"
    assert rows(ask(filled, inside)) == [{"n": len(ours)}]


def test_a_constant_that_fails_on_a_row_is_told_as_what_it_is(filled: Filled) -> None:
    where = "CASE WHEN window_start >= TIMESTAMP'2026-11-01' THEN 1/0 ELSE 1 END = 1"
    with pytest.raises(FailedError, match="DIVIDE_BY_ZERO"):
        ask(filled, f"SELECT count(*) AS n FROM payments WHERE {where}")


def test_files_are_pruned_as_with_the_folding_that_is_switched_off(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = [
        "window_start < TIMESTAMP '2026-11-01' + INTERVAL 1 DAY",
        "window_start >= date_sub(DATE '2026-11-04', 1) AND window_start < to_date(substr('x2026-11-05', 2))",
        "window_start BETWEEN to_timestamp('2026-11-02') AND TIMESTAMP '2026-11-02' + INTERVAL 3 HOURS",
        "merchant_id = lower('M1') AND window_start < date_trunc('DAY', TIMESTAMP '2026-11-02 10:00:00')",
    ]
    asked = [f"SELECT count(*) AS n FROM payments WHERE {each}" for each in ranges]
    off = [ask(filled, sql) for sql in asked]
    monkeypatch.setitem(SAFETY, "spark.sql.optimizer.datasourceV2ExprFolding", "true")
    on = [ask(filled, sql) for sql in asked]
    assert [(answer.rows_read, rows(answer)) for answer in off] == [(answer.rows_read, rows(answer)) for answer in on]
    everything = ask(filled, "SELECT count(*) AS n FROM payments").rows_read
    assert all(0 < answer.rows_read < everything / 2 for answer in off)


def test_no_name_gives_the_account_of_the_engine(filled: Filled, spark: SparkSession) -> None:
    """Every function that the engine resolves by a bare name, whichever those are in this version."""
    functions = [row[0] for row in spark.sql("SHOW SYSTEM FUNCTIONS").collect() if row[0].isidentifier()]
    bare = [name for name in functions if _resolves(spark, name)]
    assert {"current_user", "session_user", "user", "current_date"} <= set(bare)
    for name in bare:
        with pytest.raises(RefusedError, match=name):
            rewrite(f"SELECT `{name}` AS u, 1 AS `{name}` FROM merchants", Scope(("m1",), False, *ALL), filled.engine.sources().tables)


def _resolves(spark: SparkSession, name: str) -> bool:
    """Whether the engine takes a name in backticks that no column has: asked by parsing and analysing alone."""
    resolver = spark._jsparkSession.sessionState().analyzer()
    plan = spark._jsparkSession.sessionState().sqlParser().parsePlan(f"SELECT `{name}`")
    return bool(resolver.execute(plan).resolved())


VALUES = {
    "make_date(10000, 1, 1)": "+10000-01-01",
    "make_date(-1, 1, 1)": "-0001-01-01",
    "INTERVAL 3 DAYS": "INTERVAL '3' DAY",
    "INTERVAL -3 MONTHS": "INTERVAL '-3' MONTH",
    "INTERVAL 3 HOURS": "INTERVAL '03' HOUR",
    "max(occurred_at) - max(occurred_at)": "INTERVAL '0 00:00:00' DAY TO SECOND",
    "CAST('NaN' AS DOUBLE)": "NaN",
    "CAST('-Infinity' AS FLOAT)": "-Infinity",
    "CAST(0.1 AS FLOAT)": "0.1",
    "CAST(0 AS DECIMAL(20, 10))": "0.0000000000",
    "CAST(1 AS DECIMAL(38, 18))": "1.000000000000000000",
    "CAST(3 AS TINYINT)": "3",
    "max(amount) < 0": "false",
    "''": "",
}


def test_each_value_is_told_as_spark_casts_it_to_text(filled: Filled) -> None:
    columns = [*VALUES, *(f"CAST({value} AS STRING)" for value in VALUES)]
    answer = ask(filled, "SELECT " + ", ".join(f"{value} AS c{place}" for place, value in enumerate(columns)) + " FROM payments")
    page = Page(answer.table, 0, None, 1, truncated=False)
    lines = list(csv.reader(io.StringIO(as_csv(page).decode())))
    # A sign at the beginning is a number's or a date's own; before a text it gets an apostrophe, as a spreadsheet would run it.
    assert lines[1][: len(VALUES)] == list(VALUES.values())
    assert [cell.removeprefix("'") for cell in lines[1][len(VALUES) :]] == list(VALUES.values())
    found = json.loads(as_json(page))
    assert list(map(text, found["rows"][0])) == list(VALUES.values()) * 2
    kinds = dict(zip(VALUES, (column["type"] for column in found["columns"]), strict=False))
    assert [kinds[each] for each in ("INTERVAL 3 DAYS", "INTERVAL -3 MONTHS", "CAST(3 AS TINYINT)")] == [
        "interval day",
        "interval month",
        "tinyint",
    ]


def test_instants_far_away_are_told_with_their_year(filled: Filled) -> None:
    answer = ask(filled, "SELECT TIMESTAMP '2026-11-24 10:00:00' + INTERVAL 8000 YEARS AS at, NULL AS nothing FROM merchants LIMIT 1")
    assert as_csv(Page(answer.table, 0, None, 1, truncated=False)) == b"at,nothing\r\n+10026-11-24T10:00:00.000Z,\r\n"


def test_texts_of_the_caller_are_values_and_never_syntax(filled: Filled) -> None:
    tricks = ["' OR '1'='1", "\\' OR 1=1 --", "`; DROP TABLE x", "\\", ":p0", "\x00", "🙂'\"", "${spark.app.name}", "${env:HOME}"]
    quoted = [trick.replace("\\", "\\\\").replace("'", "\\'") for trick in tricks]
    columns = ", ".join(f"'{text}' AS t{number}" for number, text in enumerate(quoted))
    listed = ", ".join(f"'{text}'" for text in quoted)
    found = rows(ask(filled, f"SELECT {columns}, count(*) AS n FROM payments WHERE method IN ({listed})"))
    assert found == [{**{f"t{number}": trick for number, trick in enumerate(tricks)}, "n": 0}]


def test_a_plan_that_reads_another_table_is_refused_whatever_the_guard_has_let_pass(filled: Filled) -> None:
    tables = frozenset({tuple(filled.lake.merchants.split("."))})
    for sql in (
        f"SELECT * FROM {filled.lake.facts}",
        f"SELECT 1 FROM {filled.lake.merchants} WHERE EXISTS (SELECT 1 FROM {filled.lake.facts})",
        f"WITH a AS (SELECT * FROM {filled.lake.facts}.files) SELECT 1 FROM a",
        "SELECT * FROM range(5)",
    ):
        with pytest.raises(FailedError, match="no view"):
            filled.engine.run("job", "tenant", Statement(sql, {}, tables), LIMITS, lambda: False)


def test_a_file_cannot_be_read_by_its_path(filled: Filled) -> None:
    with pytest.raises(FailedError):
        filled.engine.run("job", "t", Statement("SELECT * FROM text.`/etc/passwd`", {}, frozenset()), LIMITS, lambda: False)


def test_a_result_is_cut_off_at_its_limit_and_says_so(filled: Filled) -> None:
    limits = Limits(LIMITS.rows_read, 10, LIMITS.result_bytes)
    cut = ask(filled, "SELECT payment_id FROM payments", limits=limits)
    assert (cut.table.num_rows, cut.truncated) == (10, True)
    whole = ask(filled, "SELECT payment_id FROM payments LIMIT 10", limits=limits)
    assert (whole.table.num_rows, whole.truncated) == (10, False)


def test_a_result_of_too_many_bytes_fails_with_the_fix(filled: Filled) -> None:
    with pytest.raises(TooLargeError, match="LIMIT"):
        ask(filled, "SELECT * FROM payments", limits=Limits(LIMITS.rows_read, 1_000, 1_000))


def test_the_cost_is_the_rows_that_are_left_after_pruning_counted_for_each_read(filled: Filled) -> None:
    everything = ask(filled, "SELECT count(*) FROM payments").rows_read
    assert 0 < everything <= len(filled.rows)
    assert ask(filled, "SELECT count(*) FROM payments", span=(T0, T0 + timedelta(days=1))).rows_read < everything / 4
    assert ask(filled, "SELECT count(*) FROM payments WHERE window_start < '2026-11-02'").rows_read < everything / 4
    twice = "SELECT (SELECT count(*) FROM payments WHERE kind = 'refund') AS a, (SELECT sum(amount) FROM payments) AS b"
    assert ask(filled, twice).rows_read == 2 * everything
    with pytest.raises(TooLargeError, match="shorter range") as found:
        ask(filled, "SELECT count(*) FROM payments", None, limits=Limits(everything - 1, 10, 1_000_000), everything=True)
    assert f"{everything - 1:,}" in found.value.message


READS = {
    "SELECT count(*) AS n FROM payments": 1,
    "SELECT count(*) AS n FROM payments a JOIN payments b ON a.payment_id = b.payment_id": 2,
    "SELECT count(*) AS n FROM payments WHERE amount > (SELECT min(net) FROM reports)": 2,
    "SELECT count(*) AS n FROM payments p WHERE EXISTS (SELECT 1 FROM payments q WHERE q.amount > p.amount AND p.kind = q.kind)": 2,
}


@pytest.mark.parametrize("sql", READS)
def test_a_merchant_is_refused_by_its_own_rows_alone(filled: Filled, sql: str) -> None:
    """I9: the limit is of rows in files, which hold those of others too."""
    span = (T0 + timedelta(hours=6), T0 + timedelta(days=2, hours=6))
    mine = [fact for fact in filled.rows if fact["merchant_id"] in ("m1", "m2")]
    own = READS[sql] * sum(span[0] <= fact["window_start"] < span[1] for fact in mine)
    # Files hold whole days.
    assert ask(filled, sql, span=span, limits=Limits(own, 10, 1_000_000)).rows_read > own
    with pytest.raises(TooLargeError, match="shorter range") as found:
        ask(filled, sql, span=span, limits=Limits(own - 1, 10, 1_000_000))
    assert (f"than {own - 1:,} rows" in found.value.message, f"{own:,}" in found.value.message) == (True, False)
    assert rows(ask(filled, sql, ("nobody",), limits=Limits(1, 10, 1_000_000))) == [{"n": 0}]


def test_a_query_that_was_cancelled_while_it_was_planned_runs_no_task(filled: Filled) -> None:
    statement = rewrite("SELECT count(*) AS n FROM payments", Scope(None, False, *ALL), filled.engine.sources().tables)
    looks = iter([False, True])
    filled.engine.cancel("early")
    with pytest.raises(CancelledError):
        # The engine's own look before it begins comes too early; Spark refuses what is begun then.
        filled.engine.run("early", "tenant", statement, LIMITS, lambda: next(looks))
    assert not filled.engine.busy("early")
    assert rows(ask(filled, "SELECT 1 AS one")) == [{"one": 1}]


def test_warming_up_reads_no_row_and_changes_nothing_for_the_next(filled: Filled) -> None:
    filled.engine.warm()
    assert rows(ask(filled, "SELECT count(*) AS n FROM merchants")) == [{"n": 2}]


def test_a_mistake_in_the_query_is_told_without_our_names(filled: Filled) -> None:
    with pytest.raises(FailedError) as found:
        ask(filled, "SELECT amount, count(*) FROM payments")
    assert "MISSING_GROUP_BY" in found.value.message or "MISSING_AGGREGATION" in found.value.message
    assert filled.lake.facts not in found.value.message
