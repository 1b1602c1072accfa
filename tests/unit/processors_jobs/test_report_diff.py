"""Differences between reports in words that a person can act on."""

from __future__ import annotations

import struct

from millrace_contracts.reports import BREAKDOWNS, CONTENT, COUNTERS
from millrace_processors.report_diff import contents, told
from millrace_processors.reports import compute
from tests.unit.processors_jobs.facts import START_MS, WINDOW_MS, arranged, some


def test_cells_are_the_protocols_bytes_in_the_order_of_the_content() -> None:
    reports = compute(arranged(some(1, 50, windows=3), WINDOW_MS))
    cells = contents(reports)
    assert len(cells) == len(reports)
    key = (reports.merchants[2], int(reports.window_ms[2]), reports.currencies[2])
    row = dict(zip(CONTENT, cells[key], strict=True))
    assert {name: struct.unpack(">q", row[name] or b"")[0] for name in COUNTERS} == {
        name: int(reports.counters[name][2]) for name in COUNTERS
    }
    assert [row[name] for name in BREAKDOWNS] == [reports.breakdowns[name][2] for name in BREAKDOWNS]
    assert (row["customers"], row["amounts"]) == (reports.customers[2], reports.amounts[2])
    assert row["revision"] == struct.pack(">q", int(reports.revision[2]))


def test_a_difference_names_the_window_and_both_values() -> None:
    ours = tuple(struct.pack(">q", 5) if name in (*COUNTERS, "revision") else b"new" for name in CONTENT)
    stored = tuple(
        cell if name not in ("gross", "refunds", "by_method", "amounts") else None for name, cell in zip(CONTENT, ours, strict=True)
    )
    stored = (stored[0], struct.pack(">q", 4), *stored[2:])
    key = ("m1", START_MS, "USD")
    assert told(key, stored, ours) == "m1 2025-11-25T00:00Z USD: gross 4 -> 5, refunds missing -> 5, by_method, amounts"
    assert told(key, None, ours) == "m1 2025-11-25T00:00Z USD: not in the store; computed 5 payments, gross 5"
