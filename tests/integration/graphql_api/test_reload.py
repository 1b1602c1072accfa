"""New workers in the place of old ones, and a stop, under load: whatever was taken is answered."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Store
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.support.servers import Servers

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack
READERS = 6
QUERY = "{ viewer { role } freshness { completeThrough } }"


def token(environ: dict[str, str]) -> str:
    return f"Bearer {make_token(Path(environ['MILLRACE_HOME']) / 'keys', 'operator', [], 600)}"


def workers(supervisor: int) -> set[int]:
    return {child.pid for child in psutil.Process(supervisor).children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.parametrize("count", [1, 2])
def test_a_reload_under_load_fails_no_request(environ: dict[str, str], store: Store, count: int) -> None:
    stop, failed, answered = threading.Event(), list[str](), [0] * READERS
    headers = {"Authorization": token(environ)}

    def read(number: int, url: str) -> None:
        client = httpx.Client(base_url=url, headers=headers, timeout=30)
        while not stop.is_set():
            try:
                answer = client.post("/graphql", json={"query": QUERY})
            except httpx.RemoteProtocolError:
                # The server may close an idle connection while a request is on its way, as every HTTP server may: once more, on a new one.
                client.close()
                client = httpx.Client(base_url=url, headers=headers, timeout=30)
                answer = client.post("/graphql", json={"query": QUERY})
            if answer.status_code == 200 and "errors" not in answer.json():
                answered[number] += 1
            else:
                failed.append(f"{answer.status_code} {answer.text[:200]}")
        client.close()

    with serving(environ, "--workers", str(count)) as (url, process):
        wait_for(f"{url}/ready", 200)
        before = workers(process.pid)
        assert len(before) >= count
        with ThreadPoolExecutor(READERS) as pool:
            readers = [pool.submit(read, number, url) for number in range(READERS)]
            try:
                time.sleep(1)
                process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + 60 * count
                while workers(process.pid) & before or len(workers(process.pid)) < len(before):
                    assert time.monotonic() < deadline, "an old worker is still there"
                    time.sleep(0.1)
                reloaded = sum(answered)
                time.sleep(2)
            finally:
                stop.set()
            for reader in readers:
                reader.result()
        assert len(workers(process.pid)) == len(before)
    assert failed == []
    assert sum(answered) > reloaded > 0, "the new worker answers"


def test_a_stop_waits_for_what_was_taken(environ: dict[str, str], store: Store, servers: Servers) -> None:
    with serving(environ) as (url, process), ThreadPoolExecutor(1) as pool:
        wait_for(f"{url}/ready", 200)
        series = 'report(merchantId: "slow", start: "2026-11-07T08:00:00Z", currency: "USD") { gross }'
        servers.pause("cassandra")
        try:
            taken = pool.submit(
                httpx.post, f"{url}/graphql", json={"query": f"{{ {series} }}"}, headers={"Authorization": token(environ)}, timeout=60
            )
            time.sleep(1)
            assert not taken.done()
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
        finally:
            servers.resume("cassandra")
        assert (taken.result().status_code, taken.result().json()) == (200, {"data": {"report": None}})
        assert process.wait(timeout=30) == 0
