"""What documents cost: each range by its days and column groups, comparisons and peers by what they read beside it."""

from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse

from millrace_graphql.http.cost import MOST, PEERS, Costs

RANGE = '(merchantId: "m", start: "2026-05-01T00:00:00Z", end: "2026-05-29T00:00:00Z")'


def cost(text: str, **variables: Any) -> int:
    document = parse(text)
    operation = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    return Costs(document, operation).total(variables)


# A range of 28 days; every object costs one more.
@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("{ viewer { role } }", 1),
        (f"{{ series{RANGE} {{ totals {{ gross }} }} }}", 28 + 2),
        (f"{{ series{RANGE} {{ totals {{ gross customers medianAmount }} }} }}", 3 * 28 + 2),
        (f"{{ series{RANGE} {{ totals {{ gross }} comparison {{ totals {{ gross {{ value }} }} }} }} }}", 2 * 28 + 5),
        (f"{{ series{RANGE} {{ a: comparison {{ end }} b: comparison {{ end }} }} }}", 3 * 28 + 3),
        (f"{{ series{RANGE} {{ ...C }} }} fragment C on Series {{ comparison {{ end }} }}", 2 * 28 + 2),
        (f"{{ peers{RANGE} {{ measured }} }}", (1 + PEERS) * 28 + 1),
        ('{ series(merchantId: "m", preset: LAST_90_DAYS) { currency } }', 28 + 1),
        # A list that does not say how many costs as its default of 100 does: a tenth of a point for each of its objects.
        ("{ viewer { merchants { id } } }", 1 + 1 + 10),
        ("{ viewer { merchants(first: 100) { id } } }", 1 + 1 + 10),
        ("{ viewer { merchants(first: 10) { id } } }", 1 + 1 + 1),
    ],
)
def test_a_document_costs_what_it_reads(text: str, points: int) -> None:
    assert cost(text) == points


def test_a_range_of_variables_costs_what_they_say() -> None:
    text = 'query($s: DateTime!, $e: DateTime!) { series(merchantId: "m", start: $s, end: $e) { currency } }'
    assert cost(text, s="2026-05-01T00:00:00Z", e="2026-05-11T00:00:00Z") == 10 + 1


def test_doubling_fragments_are_costed_without_being_walked() -> None:
    chain = " ".join(f"fragment F{n} on Series {{ ...F{n + 1} ...F{n + 1} }}" for n in range(60))
    text = f"{{ series{RANGE} {{ ...F0 }} }} {chain} fragment F60 on Series {{ comparison {{ end }} }}"
    assert MOST <= cost(text) <= 2 * MOST


def test_a_cycle_of_fragments_ends() -> None:
    assert cost("{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }") == 1
