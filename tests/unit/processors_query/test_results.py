"""Results as files, and pages of them in each format."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from millrace_processors.query import printing
from millrace_processors.query.results import Page, Results, as_arrow, as_csv, as_json

TABLE = pa.table(
    {
        "amount": pa.array([2**53 + 1, None], pa.int64()),
        "rate": pa.array([0.5, None], pa.float64()),
        "exact": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        "at": pa.array([datetime(2026, 11, 1, 10, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        "local": pa.array([datetime(2026, 11, 1, 19), None], pa.timestamp("us")),  # noqa: DTZ001 - a wall clock
        "day": pa.array([date(2026, 11, 1), None], pa.date32()),
        "name": pa.array(['a "b", c\n', None], pa.string()),
        "good": pa.array([True, None], pa.bool_()),
    }
)


def page(offset: int = 0) -> Page:
    return Page(TABLE, offset, None, 2, truncated=False)


def test_json_keeps_every_digit_and_says_the_types() -> None:
    found = json.loads(as_json(page()))
    assert found["rows"] == [
        [str(2**53 + 1), 0.5, "1.50", "2026-11-01T10:00:00.000Z", "2026-11-01T19:00:00.000", "2026-11-01", 'a "b", c\n', True],
        [None] * 8,
    ]
    types = [column["type"] for column in found["columns"]]
    assert types == ["bigint", "double", "decimal(10,2)", "timestamp", "timestamp_ntz", "date", "string", "boolean"]


def test_csv_quotes_what_needs_it_and_names_the_columns_on_the_first_page_only() -> None:
    first = as_csv(page()).decode()
    assert first.splitlines()[0] == "amount,rate,exact,at,local,day,name,good"
    assert '9007199254740993,0.5,1.50,2026-11-01T10:00:00.000Z,2026-11-01T19:00:00.000,2026-11-01,"a ""b"", c\n",true\r\n' in first
    assert first.endswith(",,,,,,,\r\n")
    assert first.endswith(as_csv(page(offset=2)).decode())


ACTS = ['=HYPERLINK("http://e","x")', "\x1b]0;owned\x07", "+1", "-1", "@a", "\u202eb", "safe"]


def acting() -> Page:
    columns = {"=name": pa.array(ACTS), "n": pa.array([-value for value in range(len(ACTS))]), "list": pa.array([[each] for each in ACTS])}
    return Page(pa.table(columns), 0, None, len(ACTS), truncated=False)


def test_csv_holds_no_text_that_acts_and_leaves_numbers_alone() -> None:
    names, *rows = csv.reader(io.StringIO(as_csv(acting()).decode()))
    assert names == ["'=name", "n", "list"]
    shown = ['\'=HYPERLINK("http://e","x")', "\\x1b]0;owned\\x07", "'+1", "'-1", "'@a", "\\u202eb", "safe"]
    assert [row[0] for row in rows] == shown
    assert [row[1] for row in rows] == [str(-value) for value in range(len(ACTS))]
    assert "\x1b" not in as_csv(acting()).decode()
    assert [row[0] for row in json.loads(as_json(acting()))["rows"]] == ACTS


def test_a_table_on_the_screen_holds_no_text_that_acts() -> None:
    file = io.BytesIO()
    printing.table(json.loads(as_json(acting())), file, 100)
    assert "\\x1b]0;owned\\x07" in file.getvalue().decode()
    assert not {"\x1b", "\x07", "\u202e"} & set(file.getvalue().decode())


def test_arrow_is_the_table_itself() -> None:
    with pa.ipc.open_stream(as_arrow(page())) as stream:
        assert stream.read_all().equals(TABLE)


def test_a_file_is_read_in_pages_and_removed(tmp_path: Path) -> None:
    results = Results(tmp_path)
    assert results.write("job", TABLE) == (tmp_path / "job.arrow").stat().st_size
    assert results.read("job", 1, 5).equals(TABLE.slice(1))
    results.remove("job")
    results.remove("job")
    with pytest.raises(FileNotFoundError):
        results.read("job", 0, 1)


def test_drafts_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "job.draft").write_bytes(b"half")
    Results(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pages_are_printed_as_one(tmp_path: Path) -> None:
    file = io.BytesIO()
    printing.rows([as_arrow(page()), as_arrow(page(2))], "arrow", file)
    with pa.ipc.open_stream(file.getvalue()) as stream:
        assert stream.read_all().num_rows == 4
    file = io.BytesIO()
    printing.rows([as_json(page())], "json", file)
    assert [json.loads(line)["name"] for line in file.getvalue().splitlines()] == ['a "b", c\n', None]


def test_columns_that_are_named_alike_are_all_printed() -> None:
    assert printing.unique(["n", "n", "n_2", "m", "n"]) == ["n", "n_2", "n_2_2", "m", "n_3"]


def test_a_table_for_a_person_shows_text_as_it_is_and_how_much_is_left() -> None:
    file = io.BytesIO()
    found = {"columns": [{"name": "name", "type": "string"}], "rows": [["[red]shop[/red]"], [None]], "total": 7}
    printing.table(found, file, 1)
    text = file.getvalue().decode()
    assert "[red]shop[/red]" in text
    assert "6 rows more" in text
