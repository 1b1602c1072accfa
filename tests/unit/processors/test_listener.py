"""Spark's own account of a trigger becomes metrics."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from millrace_processors.listener import ProgressListener
from millrace_processors.metrics import Metrics


@pytest.mark.parametrize(("given", "expected"), [({"maxOffsetsBehindLatest": "1500", "minOffsetsBehindLatest": "0"}, 1500.0), ({}, None)])
def test_a_trigger_tells_how_far_its_query_is_behind_and_how_long_its_phases_took(given: dict[str, str], expected: float | None) -> None:
    metrics = Metrics()
    sources = [SimpleNamespace(metrics=given)]
    progress = SimpleNamespace(name="payments", durationMs={"addBatch": 2_500, "walCommit": 40}, sources=sources)
    ProgressListener(metrics).onQueryProgress(SimpleNamespace(progress=progress))
    value = metrics.registry.get_sample_value
    assert value("millrace_processors_offsets_behind", {"query": "payments"}) == expected
    assert value("millrace_processors_trigger_seconds_sum", {"query": "payments", "phase": "addBatch"}) == 2.5
    assert value("millrace_processors_trigger_seconds_count", {"query": "payments", "phase": "walCommit"}) == 1.0
