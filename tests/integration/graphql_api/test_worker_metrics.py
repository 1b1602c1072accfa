"""The metrics of an API with several workers: whichever answers the scrape shows all of them."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import storeless
from tests.integration.graphql_api.test_process import metric, serving, wait_for
from tests.integration.graphql_api.test_workers import serving_workers
from tests.support.waiting import wait_until

__all__ = ["storeless"]
pytestmark = pytest.mark.stack

REQUESTS, SCRAPES = 100, 5
COUNTER = 'millrace_api_requests_total{kind="graphql"'


def test_every_scrape_counts_the_requests_of_all_workers_also_of_a_killed_one(storeless: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {make_token(Path(storeless['MILLRACE_HOME']) / 'keys', 'operator', [], 600)}"}
    with serving(storeless, "--workers", "2") as (url, process):
        wait_for(f"{url}/health", 200)
        wait_until(lambda: len(serving_workers(process.pid)) == 2, 120, "two workers")
        for number in range(REQUESTS):  # a connection each, so that both workers have some; a text each, so that none is kept
            query = {"query": f"query Q {{ a{number}: __typename }}"}
            assert httpx.get(f"{url}/graphql", params=query, headers=headers, timeout=60).status_code == 200
        assert [metric(url, COUNTER) for _ in range(SCRAPES)] == [REQUESTS] * SCRAPES
        before = serving_workers(process.pid)
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(serving_workers(process.pid) - before) == 1, 120, "a worker has taken the place of the killed one")
        wait_for(f"{url}/health", 200)
        assert [metric(url, COUNTER) for _ in range(SCRAPES)] == [REQUESTS] * SCRAPES
