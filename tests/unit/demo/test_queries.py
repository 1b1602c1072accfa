"""The queries of the truth check and of the curl line fit the API's published schema."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from millrace_stack.demo.run import curl_line
from millrace_stack.truth import answers

SCHEMA = build_schema((Path(__file__).parents[1] / "graphql_api" / "schema.graphql").read_text())


def _curl_query() -> str:
    words = shlex.split(curl_line("http://127.0.0.1:1", "T", "m", "USD", datetime(2026, 11, 24, tzinfo=UTC)))
    return str(json.loads(words[words.index("-d") + 1])["query"])


@pytest.mark.parametrize("document", [answers._TOTALS, answers._WINDOWS, answers._FRESHNESS, _curl_query()])
def test_a_query_fits_the_schema(document: str) -> None:
    assert validate(SCHEMA, parse(document)) == []
