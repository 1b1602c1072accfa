"""The one text form of each value of a result, in JSON, CSV, the table and Arrow."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.values.shown_text import csv_cell
from millrace_processors.query import printing
from millrace_processors.query.results import Page, as_arrow, as_csv, as_json, columns
from millrace_processors.query.text import forms

CYCLE_DAYS = 146_097
"""Of 400 years, after which the calendar is the same."""
DAY_US = 86_400_000_000
STAMP = pa.timestamp("us", "UTC")
FORMS: list[tuple[pa.Array, str, Any, str]] = [
    # a column of one value, its type, its form in JSON, its form in CSV and the table
    (pa.array([True]), "boolean", True, "true"),
    (pa.array([-3], pa.int8()), "tinyint", -3, "-3"),
    (pa.array([-3], pa.int16()), "smallint", -3, "-3"),
    (pa.array([-3], pa.int32()), "int", -3, "-3"),
    (pa.array([2**63 - 1], pa.int64()), "bigint", "9223372036854775807", "9223372036854775807"),
    (pa.array([0.1], pa.float32()), "float", 0.1, "0.1"),
    (pa.array([1e20], pa.float64()), "double", 1e20, "1e+20"),
    (pa.array([float("nan")], pa.float64()), "double", "NaN", "NaN"),
    (pa.array([float("inf")], pa.float32()), "float", "Infinity", "Infinity"),
    (pa.array([float("-inf")], pa.float64()), "double", "-Infinity", "-Infinity"),
    (pa.array([Decimal("0E-10")], pa.decimal128(10, 10)), "decimal(10,10)", "0.0000000000", "0.0000000000"),
    (pa.array([Decimal("-1.50")], pa.decimal128(38, 2)), "decimal(38,2)", "-1.50", "-1.50"),
    (pa.array([""]), "string", "", ""),
    (pa.array(["NaN"]), "string", "NaN", "NaN"),
    (pa.array([b"A\xff"]), "binary", "41FF", "41FF"),
    (pa.array([2_932_897], pa.date32()), "date", "+10000-01-01", "+10000-01-01"),
    (pa.array([-719_893], pa.date32()), "date", "-0001-01-01", "-0001-01-01"),
    (pa.array([-719_528], pa.date32()), "date", "0000-01-01", "0000-01-01"),
    (pa.array([-719_162], pa.date32()), "date", "0001-01-01", "0001-01-01"),
    (pa.array([2_932_897 * DAY_US + 1], STAMP), "timestamp", "+10000-01-01T00:00:00.000001Z", "+10000-01-01T00:00:00.000001Z"),
    (pa.array([-719_893 * DAY_US], pa.timestamp("us")), "timestamp_ntz", "-0001-01-01T00:00:00.000", "-0001-01-01T00:00:00.000"),
    (pa.array([1_795_000_000_000_000], STAMP), "timestamp", "2026-11-18T11:06:40.000Z", "2026-11-18T11:06:40.000Z"),
    (pa.array([[1.5, float("nan"), None]]), "array<double>", [1.5, "NaN", None], '[1.5,"NaN",null]'),
    (pa.array([[2_932_897]], pa.list_(pa.date32())), "array<date>", ["+10000-01-01"], '["+10000-01-01"]'),
    (pa.array([[("a", 1), ("b", None)]], pa.map_("string", "int64")), "map<string,bigint>", {"a": "1", "b": None}, '{"a":"1","b":null}'),
    (pa.array([[(2, b"\x00")]], pa.map_("int32", "binary")), "map<int,binary>", {"2": "00"}, '{"2":"00"}'),
    (
        pa.array([{"a": True, "b": {"c": ""}}]),
        "struct<a:boolean,b:struct<c:string>>",
        {"a": True, "b": {"c": ""}},
        '{"a":true,"b":{"c":""}}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("column", "kind", "in_json", "in_text"), FORMS, ids=[f"{kind}-{text}" for _, kind, _, text in FORMS])
def test_a_value_has_one_form_in_every_format_and_null_is_no_value(column: pa.Array, kind: str, in_json: Any, in_text: str) -> None:
    # Rows of another page before and after: what is read is a part of a larger array.
    nothing = pa.nulls(1, column.type)
    table = pa.table({"x": pa.concat_arrays([nothing, column, nothing, column])}).slice(1, 2)
    page = Page(table, 0, None, 2, truncated=False)
    found = json.loads(as_json(page))
    assert found["columns"] == [{"name": "x", "type": kind}]
    assert found["rows"] == [[in_json], [None]]
    with pa.ipc.open_stream(as_arrow(page)) as stream:
        read = stream.read_all()
    assert read.schema == table.schema
    assert as_json(Page(read, 0, None, 2, truncated=False)) == as_json(page)
    lines = as_csv(page).decode()
    assert next(csv.reader(io.StringIO(lines.splitlines()[1]))) == [in_text]
    assert lines.splitlines()[2] == ""
    shown = io.BytesIO()
    printing.table(found, shown, 10)
    assert in_text in shown.getvalue().decode()
    assert "NULL" in shown.getvalue().decode()


def test_an_empty_text_is_two_quotes_in_csv_and_null_is_nothing() -> None:
    table = pa.table({"a": pa.array(["", None, "x"]), "b": pa.array([None, "", "y"])})
    assert as_csv(Page(table, 0, None, 3, truncated=False)) == b'a,b\r\n"",\r\n,""\r\nx,y\r\n'


def test_a_column_of_sparks_text_has_the_type_that_spark_gave_it() -> None:
    field = pa.field("i", pa.string()).with_metadata({forms.SQL_TYPE: "interval day"})
    table = pa.Table.from_arrays([pa.array(["INTERVAL '3' DAY"])], schema=pa.schema([field]))
    assert columns(table) == [{"name": "i", "type": "interval day"}]
    assert json.loads(as_json(Page(table, 0, None, 1, truncated=False)))["rows"] == [["INTERVAL '3' DAY"]]


@given(st.integers(-719_528 - 3_000_000, 8_000_000))
def test_any_day_is_written_by_the_calendar_also_where_pythons_own_ends(days: int) -> None:
    cycles = (days + 719_162) // CYCLE_DAYS
    same = date(1970, 1, 1) + timedelta(days=days - cycles * CYCLE_DAYS)
    year = same.year + 400 * cycles
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    assert forms.json_values(pa.array([days], pa.date32())) == [f"{sign}{abs(year):04}-{same:%m-%d}"]


@given(st.datetimes(timezones=st.just(UTC)))
def test_any_instant_that_python_holds_is_read_back_equal(instant: datetime) -> None:
    (text,) = forms.json_values(pa.array([instant], STAMP))
    assert datetime.fromisoformat(text) == instant
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{6})Z", text)


@given(st.floats(width=32), st.floats())
def test_any_number_is_read_back_equal_from_its_text(narrow: float, wide: float) -> None:
    for value, kind, read in ((narrow, pa.float32(), np.float32), (wide, pa.float64(), float)):
        found = forms.json_values(pa.array([value, None], kind))
        assert read(forms.text(found[0])) == read(value) or math.isnan(value)
        assert isinstance(found[0], float) == math.isfinite(value)
        assert found[1] is None


@given(st.lists(st.none() | st.text(), min_size=2))
def test_a_csv_cell_is_empty_only_where_the_value_is_null_and_is_read_back(row: list[str | None]) -> None:
    cells = forms.csv_cells(pa.array(row, pa.string()))
    assert [cell == "" for cell in cells] == [value is None for value in row]
    assert next(csv.reader(io.StringIO(",".join(cells), newline=""))) == [csv_cell(value or "") for value in row]
