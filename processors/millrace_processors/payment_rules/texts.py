"""Whether what a JSON reader has taken for text was text: Spark makes text of numbers, booleans, objects and lists too (pure columns)."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

_BETWEEN = "\u0001"
_OTHER = rf"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|NaN|[-+]?Infinity|true|false|[\[{{][^{_BETWEEN}]*"
_NO_TEXT = f"(?:^|{_BETWEEN})(?:{_OTHER})(?:{_BETWEEN}|$)"


def doubtful(*values: Column) -> Column:
    """Whether one of the values (texts, or lists of texts) reads as something else in JSON does: only then a second look is needed."""
    return F.concat_ws(_BETWEEN, *values).rlike(_NO_TEXT)


def is_text(value: Column) -> Column:
    """Whether a variant is text, null or missing."""
    return F.coalesce(F.schema_of_variant(value).isin("STRING", "VOID"), F.lit(True))


def at(document: Column, *paths: str) -> Column:
    """The value of a variant at the first of the paths that leads to one."""
    return F.coalesce(*(F.try_variant_get(document, path, "variant") for path in paths))


def all_text(value: Column, paths: Sequence[Sequence[str]], elements: Sequence[str] = (), field: str = "$") -> Column:
    """Whether the values of JSON text at all these paths are text, null or missing, and those of a field of a list's elements text.

    Each of ``paths`` names one value by ways to it, of which the first that leads to one counts; so does ``elements``, the list.
    False if the JSON is not strict.
    """

    def every(document: Column) -> Column:
        fine = F.lit(True)
        for ways in paths:
            fine = fine & is_text(at(document, *ways))
        if elements:
            listed = F.coalesce(*(F.try_variant_get(document, way, "array<variant>") for way in elements))
            fine = fine & F.coalesce(F.forall(listed, lambda each: is_text(at(each, field))), F.lit(True))
        return document.isNotNull() & fine

    # Inside of a lambda the text is parsed once; outside, once for each path.
    return F.exists(F.array(F.try_parse_json(value)), every)
