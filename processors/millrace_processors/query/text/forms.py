"""The one text form of each value that a result may hold, as docs/query.md lists them: Arrow columns in, JSON values and cells out. Pure.

Dates and instants are written from their numbers, never through Python's own, which end at the year 9999.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from millrace_contracts.values.shown_text import csv_cell

_NEEDS_QUOTES = re.compile(r'[,"\r\n]')
SQL_TYPE = b"sql_type"
"""Metadata of a column that holds Spark's text of a type that Arrow has not, such as an interval: that type's name."""


def sql_type(field: pa.Field) -> str:
    """The type of a column as SQL writes it."""
    known = (field.metadata or {}).get(SQL_TYPE)
    return known.decode() if known else _type(field.type)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"array<{_type(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{_type(kind.key_type)},{_type(kind.item_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{each.name}:{_type(each.type)}' for each in kind)}>"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    return _NAMES.get(str(kind), str(kind))


_NAMES = {
    "int64": "bigint", "int32": "int", "int16": "smallint", "int8": "tinyint", "double": "double", "float": "float", "bool": "boolean",
    "string": "string", "large_string": "string", "binary": "binary", "large_binary": "binary", "date32[day]": "date", "null": "null",
}  # fmt: skip


def json_values(column: Any) -> list[Any]:
    """Values of an Arrow array that JSON holds: numbers of 64 bits, decimals and whatever JSON has no form for are text."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    written = next(form for test, form in _FORMS if test(array.type))
    return list(written(array))


def _some(value: Any, form: Callable[[Any], Any]) -> Any:
    return None if value is None else form(value)


def _floats(array: pa.Array) -> list[Any]:
    values = array.to_pylist()
    if array.type.bit_width < 64:
        # The shortest digits of a 32-bit number, not those of the 64-bit number that is equal to it.
        values = [_some(each, lambda value: float(str(np.float32(value)))) for each in values]
    return [each if each is None or math.isfinite(each) else _infinite(each) for each in values]


def _infinite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _numbers(array: pa.Array, kind: pa.DataType, unit: str) -> Any:
    return array.cast(kind).fill_null(0).to_numpy(zero_copy_only=False).astype(f"datetime64[{unit}]")


def _with_years(array: pa.Array, texts: Any, zone: str = "") -> list[str | None]:
    written = [text + zone if text[4] == "-" and text[0] != "-" else _far(text) + zone for text in texts.tolist()]
    return [text if there else None for text, there in zip(written, array.is_valid().to_pylist(), strict=True)]


def _far(text: str) -> str:
    """Years before 0 and beyond 9999 as Spark writes them: with a sign and four digits or more (ISO 8601)."""
    year, rest = text.lstrip("-").split("-", 1)
    return f"{'-' if text[0] == '-' else '+'}{year:0>4}-{rest}"


def _dates(array: pa.Array) -> list[str | None]:
    return _with_years(array, np.datetime_as_string(_numbers(array, pa.int32(), "D")))


def _instants(array: pa.Array) -> list[str | None]:
    """ISO 8601 with milliseconds, or with microseconds where there are any."""
    values = _numbers(array, pa.int64(), array.type.unit).astype("datetime64[us]")
    fine = values.astype(np.int64) % 1000 != 0
    texts = np.where(fine, np.datetime_as_string(values, unit="us"), np.datetime_as_string(values, unit="ms"))
    return _with_years(array, texts, "Z" if array.type.tz else "")


def _lists(array: pa.Array) -> list[list[Any] | None]:
    values: Iterator[Any] = iter(json_values(array.flatten()))
    return [_some(length, lambda count: list(islice(values, count))) for length in pc.list_value_length(array).to_pylist()]


def _structs(array: pa.Array) -> list[dict[str, Any] | None]:
    names = [field.name for field in array.type]
    rows = zip(*(json_values(each) for each in array.flatten()), strict=True)
    return [dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, array.is_valid().to_pylist(), strict=True)]


def _maps(array: pa.Array) -> list[dict[str, Any] | None]:
    entry = pa.struct([pa.field("key", array.type.key_type), pa.field("value", array.type.item_type)])
    pairs = _lists(array.cast(pa.list_(entry)))
    return [_some(each, lambda found: {text(pair["key"]): pair["value"] for pair in found}) for each in pairs]


_PLAIN = ("int32", "int16", "int8", "bool", "string", "large_string", "null")
_FORMS: tuple[tuple[Callable[[Any], bool], Callable[[Any], list[Any]]], ...] = (
    (pa.types.is_floating, _floats),
    (pa.types.is_decimal, lambda array: [_some(each, lambda value: f"{value:f}") for each in array.to_pylist()]),
    (pa.types.is_timestamp, _instants),
    (pa.types.is_date32, _dates),
    (pa.types.is_binary, lambda array: [_some(each, lambda value: value.hex().upper()) for each in array.to_pylist()]),
    (pa.types.is_list, _lists),
    (pa.types.is_map, _maps),
    (pa.types.is_struct, _structs),
    (lambda kind: str(kind) in _PLAIN, lambda array: array.to_pylist()),
    (lambda _: True, lambda array: [_some(each, str) for each in array.to_pylist()]),
)


def text(value: Any) -> str:
    """A JSON value as a table shows it and a CSV cell holds it; "" for null."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else orjson.dumps(value).decode()


def csv_cells(column: Any) -> list[str]:
    """Cells of RFC 4180: null is an empty one, an empty text is two quotes, and no text is taken for a formula."""
    # A number or a date begins with a sign rightly.
    shown = csv_cell if any(test(column.type) for test in _TEXTS) else str
    return ["" if value is None else _cell(shown(text(value))) for value in json_values(column)]


_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_nested)


def _cell(found: str) -> str:
    return '"' + found.replace('"', '""') + '"' if found == "" or _NEEDS_QUOTES.search(found) else found
