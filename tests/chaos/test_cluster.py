"""The stream on a standalone cluster of two workers, the lake on a real HDFS: one worker is killed and nothing is lost (I5, I6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processors.events import MINUTE, T0, change, payment
from tests.integration.processors_jobs.conftest import pipeline  # noqa: F401
from tests.integration.processors_jobs.jobs import Jobs
from tests.integration.processors_jobs.pipeline import Pipeline
from tests.support.hdfs import hdfs
from tests.support.spark_cluster import Cluster, spark_cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]
PARTS, PART = 6, 2_000


@pytest.fixture
def lake_url(tmp_path: Path) -> Iterator[str]:
    with hdfs(tmp_path / "hdfs") as url:
        yield url


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with spark_cluster(tmp_path / "cluster", 2) as made:
        yield made


def test_a_killed_worker_costs_nothing(pipeline: Pipeline, lake_url: str, cluster: Cluster, tmp_path: Path) -> None:  # noqa: F811
    pipeline.see(
        {
            "MILLRACE_SPARK_MASTER": cluster.url,
            "MILLRACE_SPARK_EXECUTOR_MEMORY": "700m",
            "MILLRACE_SPARK_DRIVER_MEMORY": "700m",
            "MILLRACE_SPARK_EXTRA": "spark.driver.host=127.0.0.1;spark.driver.bindAddress=127.0.0.1",
            "MILLRACE_LAKE_WAREHOUSE": f"{lake_url}/lake",
            "MILLRACE_PROCESSORS_CHECKPOINTS": f"{lake_url}/checkpoints",
        }
    )
    jobs, expected = Jobs(pipeline, tmp_path), Counter[tuple[str, int, str]]()
    gross = Counter[tuple[str, int, str]]()

    def write(part: int) -> None:
        images = [payment(f"p{part}-{n}", merchantId=f"m{n % 50}", amount=n, paidAt=T0 + (part * 7 + n) % 90 * MINUTE) for n in range(PART)]
        pipeline.produce([change("c", image, at=part * PART + n + 1) for n, image in enumerate(images)], T0 + part)
        for image in images:
            key = image["merchantId"], image["paidAt"] - image["paidAt"] % (10 * MINUTE), "USD"
            expected[key] += 1
            gross[key] += image["amount"]

    def there() -> int:
        return sum(row[0] for row in pipeline.reports().values())

    with jobs.running("stream", "--query", "payments", "--trigger", "1 second") as stream:
        write(0)
        wait_until(lambda: there() == PART, 400, "the first reports")
        assert cluster.executors() == 2
        for part in range(1, PARTS):
            write(part)
            if part == 2:
                wait_until(lambda: there() > 2 * PART, 300, "a batch is half-way")
                cluster.kill(0)
        wait_until(lambda: there() == PARTS * PART, 600, "all reports")
        wait_until(lambda: cluster.lost() == 1, 120, "the master has missed the worker")
        assert stream.poll() is None
        stream.terminate()
        assert stream.wait(180) == 0
    reports = pipeline.reports()
    assert {key: (row[0], row[1]) for key, row in reports.items()} == {key: (count, gross[key]) for key, count in expected.items()}
    # Another application, on the worker that is left: the lake on HDFS gives the same bytes.
    compared = jobs.run("reprocess", "--dry-run")
    assert (compared["equal"], compared["changed"], compared["added"]) == (len(reports), 0, 0)
