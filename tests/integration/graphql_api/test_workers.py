"""Several workers of one process: each hears of every change, and one that is killed is replaced while the others answer."""

import json
import os
import signal
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from millrace_contracts.notices import changed_key, channel
from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import is_alive, serving, wait_for
from tests.support.waiting import wait_until

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack

START = datetime(2026, 11, 11, 8, tzinfo=UTC)
QUERY = f'{{ report(merchantId: "shared", start: "{START:%Y-%m-%dT%H:%M:%SZ}", currency: "USD") {{ gross }} }}'
CONNECTIONS = 40
AT_LEAST = 5  # connections that each worker is given


def paid(environ: dict[str, str], store: Store, amount: int, version: int) -> None:
    """A report is written and its notice published."""
    prefix = environ["MILLRACE_NAMES_REDIS_PREFIX"]
    store.report("shared", START, "USD", Written([Paid(amount)]), version=version)
    windows = [[int(START.timestamp()) * 1000, "USD"]]
    notice = {"merchantId": "shared", "grain": "10m", "windows": windows, "version": version, "completeThrough": None}
    with redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as client, client.pipeline(transaction=False) as pipe:
        pipe.hset(changed_key(prefix, "shared"), f"{START:%Y-%m-%d}", str(version))
        pipe.publish(channel(prefix), json.dumps(notice))
        pipe.execute()


def serving_workers(supervisor: int) -> set[int]:
    """The workers: the children of the supervisor that hold the API's memory, and none of Python's own helpers."""
    children = psutil.Process(supervisor).children(recursive=True)
    return {child.pid for child in children if is_alive(child) and child.memory_info().rss > 60 * 2**20}


def connections_of(worker: int, url: str) -> int:
    """How many connections of clients this worker holds."""
    port = httpx.URL(url).port
    held = psutil.Process(worker).net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in held)


def test_every_worker_hears_of_a_change_and_a_killed_one_is_replaced(environ: dict[str, str], store: Store) -> None:
    paid(environ, store, 1, 1)
    headers = {"Authorization": f"Bearer {make_token(Path(environ['MILLRACE_HOME']) / 'keys', 'merchant', ['shared'], 600)}"}
    with serving(environ, "--workers", "2") as (url, process), ExitStack() as stack:
        wait_for(f"{url}/ready", 200)
        wait_until(lambda: len(serving_workers(process.pid)) == 2, 120, "two workers")
        deadline = time.monotonic() + 120
        before = serving_workers(process.pid)
        assert {os.sched_getscheduler(worker) for worker in before} == {os.SCHED_BATCH}
        clients: list[httpx.Client] = []
        while len(clients) < CONNECTIONS or min(connections_of(worker, url) for worker in before) < AT_LEAST:
            assert time.monotonic() < deadline, "a worker takes no connections"
            clients.append(stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=60)))
            assert clients[-1].get("/health").status_code == 200

        def answers() -> list[tuple[str, str]]:
            found = [client.post("/graphql", json={"query": QUERY}) for client in clients]
            return [(answer.json()["data"]["report"]["gross"], answer.headers["x-millrace-cache"]) for answer in found]

        def until(gross: str) -> None:
            """All connections get this amount, out of a cache."""
            deadline = time.monotonic() + 120
            while set(found := answers()) != {(gross, "hit")}:
                assert time.monotonic() < deadline, set(found)

        until("1")
        for version in range(2, 6):
            paid(environ, store, version, version)
            until(str(version))

        killed = min(before)
        held = connections_of(killed, url)
        os.kill(killed, signal.SIGKILL)
        lost = 0  # none at all where the client sees in time that its connection is closed, and makes another one
        for client in clients:
            try:
                assert client.get("/health").status_code == 200
            except httpx.TransportError:
                lost += 1
        assert lost <= held, "none is lost but on the connections of the killed worker"
        wait_until(lambda: serving_workers(process.pid) - before, 120, "a worker has taken the place of the killed one")
        paid(environ, store, 9, 9)
        until("9")
        assert process.poll() is None
