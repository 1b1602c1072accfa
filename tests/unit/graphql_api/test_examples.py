"""The queries that GraphiQL opens with are of the schema as it is."""

import re
from pathlib import Path

import pytest
from graphql import parse, validate

from millrace_graphql.graphiql import pages
from millrace_graphql.schema.query import build_schema

SOURCE = Path(pages.__file__).parent / "src" / "examples.js"
EXAMPLES = re.findall(r"query: `(.*?)`", SOURCE.read_text(), re.DOTALL)
NAMES = [re.findall(r"^(?:query|subscription) (\w+)", text, re.MULTILINE)[0] for text in EXAMPLES]


def test_there_is_an_example_in_each_tab() -> None:
    assert len(EXAMPLES) == SOURCE.read_text().count("variables:")
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_an_example_is_valid(example: str) -> None:
    assert validate(build_schema(), parse(example)) == []
