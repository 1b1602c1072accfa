"""Columns written as JSON are what a JSON library reads back, and rows read in one step are what the driver reads."""

import io
import json
import struct

import numpy as np
from cassandra.cqltypes import LongType, UTF8Type
from hypothesis import given
from hypothesis import strategies as st

from millrace_graphql.ranges import json_columns
from millrace_graphql.ranges.fast_rows import FEWEST_ROWS, ColumnsMessage, column
from millrace_graphql.ranges.plan import iso

int64s = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(int64s))
def test_whole_numbers_and_digits(values: list[int]) -> None:
    column = np.array(values, np.int64)
    assert json.loads(json_columns.integers(column)) == values
    assert json.loads(json_columns.digits(column)) == [str(value) for value in values]


@given(st.lists(st.tuples(int64s, st.booleans())))
def test_a_value_that_is_not_known_is_null(pairs: list[tuple[int, bool]]) -> None:
    values, known = np.array([value for value, _ in pairs], np.int64), np.array([there for _, there in pairs], bool)
    assert json.loads(json_columns.digits(values, known)) == [str(value) if there else None for value, there in pairs]


@given(st.lists(st.integers(0, 4_102_444_800).map(lambda second: second * 1000)))
def test_instants(moments: list[int]) -> None:
    assert json.loads(json_columns.instants(np.array(moments, np.int64))) == [iso(ms) for ms in moments]


def message(rows: list[tuple[int | None, str | None]]) -> bytes:
    """The rows as the native protocol has them."""

    def cell(content: bytes | None) -> bytes:
        return struct.pack(">i", -1) if content is None else struct.pack(">i", len(content)) + content

    parts = [
        cell(None if number is None else struct.pack(">q", number)) + cell(None if text is None else text.encode()) for number, text in rows
    ]
    # Flags 4: no metadata; it comes with the prepared statement.
    return struct.pack(">ii", 4, 2) + struct.pack(">i", len(rows)) + b"".join(parts)


METADATA = [("ks", "t", "n", LongType), ("ks", "t", "currency", UTF8Type)]
cells = st.tuples(st.none() | int64s, st.sampled_from([None, "USD", "KRW", "EURO", ""]))
plain_cells = st.tuples(int64s, st.sampled_from(["USD", "KRW"]))


@given(st.lists(cells, max_size=60) | st.lists(plain_cells, min_size=FEWEST_ROWS, max_size=60))
def test_rows_read_as_columns_are_what_was_sent(rows: list[tuple[int | None, str | None]]) -> None:
    read = ColumnsMessage(kind=2)
    read.recv_results_rows(io.BytesIO(message(rows)), 4, {}, METADATA, None)
    if isinstance(read.parsed_rows, np.ndarray):
        found = list(zip(column(read.parsed_rows, "n").tolist(), column(read.parsed_rows, "currency").tolist(), strict=True))
        assert all(len(text or "") == 3 and number is not None for number, text in rows)
    else:
        found = [tuple(row) for row in read.parsed_rows]
    assert found == rows
    plain = len(rows) >= FEWEST_ROWS and all(number is not None and text in ("USD", "KRW") for number, text in rows)
    assert isinstance(read.parsed_rows, np.ndarray) == plain
