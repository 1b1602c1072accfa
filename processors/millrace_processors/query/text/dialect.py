"""sqlglot's Spark dialect without its knowledge of functions: each stays a name with arguments, as the caller has written it."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot.dialects.spark import Spark
from sqlglot.parsers.spark import SparkParser


def _only(parsers: dict[str, Any], names: str) -> dict[str, Any]:
    return {name: parsers[name] for name in names.split()}


class _Parser(SparkParser):
    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    # Those whose arguments are no list of expressions.
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = _only(SparkParser.FUNCTION_PARSERS, "CAST TRY_CAST EXTRACT TRIM SUBSTRING SUBSTR POSITION")
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = _only(SparkParser.NO_PAREN_FUNCTION_PARSERS, "ANY CASE IF")


class DIALECT(Spark):
    """What a caller's query is parsed with."""

    Parser = _Parser
