"""Columns written as JSON are what a JSON library reads back, and rows read in one step are what the driver reads."""

import io
import json
import struct

import numpy as np
from cassandra.cqltypes import LongType, UTF8Type
from hypothesis import given
from hypothesis import strategies as st

from millrace_graphql.ranges import json_columns
from millrace_graphql.ranges.fast_rows import FEWEST_ROWS, ColumnsMessage, columns
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


NAMES = ["n", "currency", "a", "b", "other", "c"]
TYPES = [LongType, UTF8Type, LongType, LongType, UTF8Type, LongType]
METADATA = [("ks", "t", name, kind) for name, kind in zip(NAMES, TYPES, strict=True)]
Row = tuple[int | str | None, ...]


def message(rows: list[Row]) -> bytes:
    """The rows as the native protocol has them."""

    def cell(value: int | str | None) -> bytes:
        if value is None:
            return struct.pack(">i", -1)
        content = struct.pack(">q", value) if isinstance(value, int) else value.encode()
        return struct.pack(">i", len(content)) + content

    # Flags 4: no metadata; it comes with the prepared statement.
    return struct.pack(">ii", 4, len(NAMES)) + struct.pack(">i", len(rows)) + b"".join(cell(value) for row in rows for value in row)


texts = st.sampled_from([None, "USD", "KRW", "EURO", ""])
plain_texts = st.sampled_from(["USD", "KRW"])
cells = st.tuples(*(st.none() | int64s if kind is LongType else texts for kind in TYPES))
plain_cells = st.tuples(*(int64s if kind is LongType else plain_texts for kind in TYPES))


@given(st.lists(cells | plain_cells, max_size=40) | st.lists(plain_cells, min_size=FEWEST_ROWS, max_size=40))
def test_rows_read_as_columns_are_what_was_sent(rows: list[Row]) -> None:
    read = ColumnsMessage(kind=2)
    read.recv_results_rows(io.BytesIO(message(rows)), 4, {}, METADATA, None)
    if isinstance(read.parsed_rows, np.ndarray):
        found = columns(read.parsed_rows)
        assert list(found) == NAMES
        assert list(zip(*(found[name].tolist() for name in NAMES), strict=True)) == rows
    else:
        assert [tuple(row) for row in read.parsed_rows] == rows
    is_plain = all(isinstance(value, int) or value in ("USD", "KRW") for row in rows for value in row)
    assert isinstance(read.parsed_rows, np.ndarray) == (len(rows) >= FEWEST_ROWS and is_plain)


def test_one_null_or_longer_text_among_many_rows_is_read_the_drivers_way() -> None:
    plain: Row = (1, "USD", 2, 3, "KRW", 4)
    for place in range(len(NAMES)):
        for odd in (None, "EURO" if TYPES[place] is UTF8Type else None):
            rows: list[Row] = [plain] * FEWEST_ROWS + [(*plain[:place], odd, *plain[place + 1 :])] + [plain]
            read = ColumnsMessage(kind=2)
            read.recv_results_rows(io.BytesIO(message(rows)), 4, {}, METADATA, None)
            assert [tuple(row) for row in read.parsed_rows] == rows
