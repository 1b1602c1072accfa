"""A second driver of the stream that is started by mistake, at the same checkpoint: the reports are what one driver gives (I5, I7)."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.conftest import pipeline  # noqa: F401
from tests.integration.processors_jobs.jobs import Jobs
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_200)]
PARTS, PART = 8, 200
STREAM = ("stream", "--query", "payments", "--trigger", "1 second")


def test_two_drivers_of_one_checkpoint_give_the_reports_of_one(pipeline: Pipeline, tmp_path: Path) -> None:  # noqa: F811
    jobs = Jobs(pipeline, tmp_path)
    expected, gross = Counter[tuple[str, int, str]](), Counter[tuple[str, int, str]]()

    def there() -> int:
        return sum(row[0] for row in pipeline.reports().values())

    with jobs.running(*STREAM) as first, jobs.running(*STREAM) as second:
        for part in range(PARTS):
            images = [payment(f"p{part}-{n}", merchantId=f"m{n % 9}", amount=n, paidAt=T0 + (part + n) % 90 * MINUTE) for n in range(PART)]
            pipeline.produce([change("c", image, at=part * PART + n + 1) for n, image in enumerate(images)], T0 + part)
            for image in images:
                key = image["merchantId"], image["paidAt"] - image["paidAt"] % (10 * MINUTE), "USD"
                expected[key] += 1
                gross[key] += image["amount"]
            held = (part + 1) * PART
            wait_until(lambda: there() == held, 300, f"{held} payments")  # noqa: B023
        running = [process for process in (first, second) if process.poll() is None]
        assert running, "one of them goes on"
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(180)
    reports = pipeline.reports()
    assert {key: (row[0], row[1]) for key, row in reports.items()} == {key: (count, gross[key]) for key, count in expected.items()}
    compared = jobs.run("reprocess", "--dry-run")
    assert (compared["equal"], compared["changed"], compared["added"]) == (len(reports), 0, 0)
