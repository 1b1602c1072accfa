"""Audit counts by window."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from millrace_cdc import audit


def image(minute: int, amount: Any = 10, currency: Any = "USD") -> dict[str, Any]:
    return {"paidAt": datetime(2026, 3, 4, 5, minute, 7, tzinfo=UTC).replace(tzinfo=None), "amount": amount, "currency": currency}


WINDOW = 1772600400000
"""2026-03-04 05:00 UTC."""


def test_events_and_amounts_add_up_by_window_currency_and_operation() -> None:
    counts: audit.Counts = {}
    for op, event in (("c", image(0)), ("c", image(9, 5)), ("c", image(10)), ("u", image(0, 7)), ("c", image(0, 1, "EUR"))):
        audit.count(counts, op, event)
    assert counts == {
        (WINDOW, "USD", "c"): [2, 15],
        (WINDOW + 600_000, "USD", "c"): [1, 10],
        (WINDOW, "USD", "u"): [1, 7],
        (WINDOW, "EUR", "c"): [1, 1],
    }


def test_what_can_not_be_read_is_counted_all_the_same() -> None:
    counts: audit.Counts = {}
    audit.count(counts, "c", {"paidAt": "yesterday", "amount": 1.5, "currency": 3})
    audit.count(counts, "d", None)
    assert counts == {(None, None, "c"): [1, 0], (None, None, "d"): [1, 0]}


def test_the_records_of_transactions_add_up() -> None:
    one: audit.Counts = {(WINDOW, "USD", "c"): [2, 15]}
    two: audit.Counts = {(WINDOW, "USD", "c"): [1, 1], (None, None, "d"): [1, 0]}
    records = [audit.encode("commerce.payments", 0, counts, 5) for counts in (one, two)]
    assert json.loads(records[0]) == {
        "kind": "counts",
        "collection": "commerce.payments",
        "stream": 0,
        "recorded_ms": 5,
        "windows": [[WINDOW, "USD", "c", 2, 15]],
    }
    assert audit.total([*records, b'{"kind":"gap"}']) == {(WINDOW, "USD", "c"): [3, 16], (None, None, "d"): [1, 0]}
