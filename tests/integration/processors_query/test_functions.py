"""What a caller writes is what Spark reads: every listed function in each of its forms, through the service and through Spark directly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from millrace_processors.query.engine import Limits
from millrace_processors.query.grammar import function_names
from millrace_processors.query.results import Page, as_csv
from millrace_processors.query.rewriting import Scope, rewrite
from tests.integration.processors_query.conftest import Filled
from tests.integration.processors_query.functions import AGGREGATES, GROUPED, ROWS, WINDOWS
from tests.integration.processors_query.test_engine import ALL, ask

pytestmark = pytest.mark.stack
BATCH = 80
"""Forms of one statement."""
STATEMENTS = [
    *(f"SELECT payment_id, kind, {{}} FROM payments|{start}|ROWS" for start in range(0, len(ROWS), BATCH)),
    "SELECT {} FROM payments|0|AGGREGATES",
    "SELECT kind, currency, {} FROM payments GROUP BY CUBE (kind, currency)|0|GROUPED",
    "SELECT payment_id, kind, {} FROM payments WINDOW w AS (PARTITION BY merchant_id ORDER BY payment_id, kind)|0|WINDOWS",
]
FORMS = {"ROWS": ROWS, "AGGREGATES": AGGREGATES, "GROUPED": GROUPED, "WINDOWS": WINDOWS}


@pytest.fixture(scope="module")
def direct(filled: Filled, spark: SparkSession) -> Iterator[SparkSession]:
    """Spark without the service, in which `payments` are the rows that the caller sees."""
    session = spark.newSession()
    statement = rewrite("SELECT * FROM payments", Scope(("m1", "m2"), False, *ALL), filled.engine.sources().tables)
    session.sql(statement.sql, args=statement.parameters).localCheckpoint().createOrReplaceTempView("payments")
    yield session
    session.catalog.dropTempView("payments")


def test_every_listed_function_has_forms_here() -> None:
    called = {name.lower() for form in (*ROWS, *AGGREGATES, *GROUPED, *WINDOWS) for name in re.findall(r"(\w+) ?\(", form)}
    assert set(function_names()) <= called | {"case"}
    assert any(form.startswith("CASE") for form in ROWS)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_function_gives_what_spark_gives(filled: Filled, direct: SparkSession, statement: str) -> None:
    shape, start, kind = statement.split("|")
    forms = FORMS[kind][int(start) :][:BATCH] if kind == "ROWS" else FORMS[kind]
    sql = shape.format(", ".join(f"{form} AS c{place}" for place, form in enumerate(forms)))
    limits = Limits(rows_read=1_000_000, result_rows=10_000, result_bytes=100_000_000)
    found = ask(filled, sql, limits=limits).table
    # Arrow holds no interval: there, both sides are Spark's text of it.
    plain = direct.sql(sql)
    texts = [f"CAST({name} AS STRING) AS {name}" if kind.startswith("interval") else name for name, kind in plain.dtypes]
    expected = plain.selectExpr(*texts).toArrow()
    assert [str(field.type) for field in found.schema] == [str(field.type) for field in expected.schema]
    different = [
        (form, left, right)
        for form, name in zip(forms, (f"c{place}" for place in range(len(forms))), strict=True)
        for left, right in [(_values(found, name), _values(expected, name))]
        if left != right
    ]
    assert different == []
    assert found.num_rows == expected.num_rows > 0


def _values(table: pa.Table, name: str) -> Counter[str]:
    keys = [column for column in table.column_names if column in ("payment_id", "kind", "currency")]
    return Counter(map(str, table.select([*keys, name]).to_pylist()))


def test_the_patterns_texts_and_epochs_of_the_docs_have_these_values(filled: Filled) -> None:
    expected: dict[str, Any] = {
        "to_date('24.11.2026', 'dd.MM.yyyy')": date(2026, 11, 24),
        "to_date('20261124', 'yyyyMMdd')": date(2026, 11, 24),
        "to_timestamp('24.11.2026 10:00', 'dd.MM.yyyy HH:mm')": datetime(2026, 11, 24, 10, tzinfo=UTC),
        "unix_millis(TIMESTAMP '2026-11-24 10:00:00.5')": int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp() * 1000) + 500,
        "unix_seconds(TIMESTAMP '2026-11-24 10:00:00.5')": int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp()),
        "'O''Brien'": "O'Brien",
        "''''": "'",
        "date_format(TIMESTAMP '2026-11-24 10:00:00', 'HH''h''')": "10h",
    }
    sql = "SELECT " + ", ".join(f"{form} AS c{place}" for place, form in enumerate(expected)) + " FROM merchants LIMIT 1"
    (row,) = ask(filled, sql).table.to_pylist()
    assert dict(zip(expected, row.values(), strict=True)) == expected


def test_a_name_of_the_caller_is_kept_as_it_is_written(filled: Filled) -> None:
    answer = ask(filled, "SELECT count(*) AS `The Number`, min(Currency) AS MINIMUM FROM Payments AS P WHERE p.KIND = 'payment'")
    assert as_csv(Page(answer.table, 0, None, 1, truncated=False)).splitlines()[0] == b"The Number,MINIMUM"
