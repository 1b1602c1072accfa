"""The stream as the process that it is: what it tells Prometheus, and a clean stop."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.jobs import Jobs
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_the_stream_tells_how_far_it_is_and_stops_cleanly(pipeline: Pipeline, tmp_path: Path) -> None:
    port = free_port()
    pipeline.produce([change("c", payment(f"p{n}"), at=n + 1) for n in range(40)], T0)
    arguments = ("stream", "--query", "payments", "--trigger", "200 milliseconds", "--ops-port", str(port))

    def metrics() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            return str(answer.read(), "utf-8")

    def value(name: str) -> float | None:
        found = re.search(rf"^millrace_processors_{re.escape(name)} (\S+)$", metrics(), re.MULTILINE)
        return float(found[1]) if found else None

    with Jobs(pipeline, tmp_path, events_per_batch=100).running(*arguments) as process:
        wait_until(lambda: len(pipeline.reports()) == 1, 300, "the reports")
        wait_until(lambda: value('trigger_seconds_count{phase="addBatch",query="payments"}'), 60, "Spark's account of the trigger")
        assert value('offsets_behind{query="payments"}') == 0.0
        assert value('events_total{query="payments"}') == 40.0
        assert value("complete_through_seconds") == T0 / 1000
        assert [row[0] for row in pipeline.reports().values()] == [40]

        # Asked to stop in the middle of ninety batches, it finishes the one that it has begun: what the lake has, the reports have.
        before = len(pipeline.lake.snapshots(pipeline.lake.facts))
        more = [payment(f"q{n}", merchantId=f"m{n % 50}", paidAt=T0 + n % 90 * MINUTE) for n in range(9_000)]
        pipeline.produce([change("c", image, at=100 + n) for n, image in enumerate(more)], T0)
        wait_until(lambda: len(pipeline.lake.snapshots(pipeline.lake.facts)) > before, 120, "a batch that has begun")
        process.terminate()
        assert process.wait(400) == 0
    held = pipeline.spark.table(pipeline.lake.facts).count()
    assert 40 < held < 9_040
    assert sum(row[0] for row in pipeline.reports().values()) == held
