"""New workers in the place of old ones, and a stop, under load: whatever was taken is answered."""

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Store
from tests.integration.graphql_api.test_process import is_alive, metric, serving, wait_for
from tests.support.servers import Servers
from tests.support.waiting import wait_until

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack
READERS = 6
QUERY = "{ viewer { role } freshness { completeThrough } }"


def token(environ: dict[str, str]) -> str:
    return f"Bearer {make_token(Path(environ['MILLRACE_HOME']) / 'keys', 'operator', [], 600)}"


def workers(supervisor: int) -> set[int]:
    """The workers that run."""
    return {child.pid for child in psutil.Process(supervisor).children(recursive=True) if is_alive(child)}


def documents(url: str) -> float:
    """How many documents the process has taken."""
    return metric(url, "millrace_api_documents_total")


@pytest.mark.parametrize("count", [1, 2])
def test_a_reload_under_load_fails_no_request(environ: dict[str, str], store: Store, count: int) -> None:
    stop, failed, answered, again = threading.Event(), list[str](), [0] * READERS, [0] * READERS
    headers = {"Authorization": token(environ)}

    def read(number: int, url: str) -> None:
        client = httpx.Client(base_url=url, headers=headers, timeout=60)
        while not stop.is_set():
            try:
                answer = client.post("/graphql", json={"query": QUERY})
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # The server may close an idle connection while a request is on its way, as every HTTP server may: once more, on a new one.
                again[number] += 1
                client.close()
                client = httpx.Client(base_url=url, headers=headers, timeout=60)
                answer = client.post("/graphql", json={"query": QUERY})
            if answer.status_code == 200 and "errors" not in answer.json():
                answered[number] += 1
            else:
                failed.append(f"{answer.status_code} {answer.text[:200]}")
        client.close()

    with serving(environ, "--workers", str(count)) as (url, process):
        wait_for(f"{url}/ready", 200)
        wait_until(lambda: len(workers(process.pid)) == count, 60, f"{count} workers")
        before = workers(process.pid)
        with ThreadPoolExecutor(READERS) as pool:
            readers = [pool.submit(read, number, url) for number in range(READERS)]
            try:
                wait_until(lambda: min(answered) > 5, 60, "every reader is answered")
                process.send_signal(signal.SIGHUP)
                wait_until(lambda: not workers(process.pid) & before, 120 * count, "no old worker is there")
                wait_until(lambda: len(workers(process.pid)) == count, 60, f"{count} new workers")
                reloaded = list(answered)
                wait_until(lambda: all(n > m + 5 for n, m in zip(answered, reloaded, strict=True)), 60, "every reader is answered anew")
            finally:
                stop.set()
            for reader in readers:
                reader.result()
        assert len(workers(process.pid)) == count
    assert failed == []
    assert max(again) <= count, "an old worker closes a reader's connection once"


def test_a_stop_waits_for_what_was_taken(environ: dict[str, str], store: Store, servers: Servers) -> None:
    with serving(environ) as (url, process), ThreadPoolExecutor(1) as pool:
        wait_for(f"{url}/ready", 200)
        series = 'report(merchantId: "slow", start: "2026-11-07T08:00:00Z", currency: "USD") { gross }'
        host, port = url.removeprefix("http://").split(":")
        assert documents(url) == 0
        servers.pause("cassandra")
        try:
            taken = pool.submit(
                httpx.post, f"{url}/graphql", json={"query": f"{{ {series} }}"}, headers={"Authorization": token(environ)}, timeout=60
            )
            wait_until(lambda: documents(url) > 0, 60, "the question is taken")
            assert not taken.done()
            with socket.create_connection((host, int(port)), timeout=60) as idle:
                idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert idle.recv(4_096).startswith(b"HTTP/1.1 200")
                process.send_signal(signal.SIGTERM)
                assert idle.recv(4_096) == b"", "the stop has begun: an idle connection is closed"
            assert not taken.done()
        finally:
            servers.resume("cassandra")
        assert (taken.result().status_code, taken.result().json()) == (200, {"data": {"report": None}})
        assert process.wait(timeout=100) == 0
