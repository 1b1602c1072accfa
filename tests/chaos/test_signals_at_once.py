"""SIGTERM to a server's parent and workers at once, many times: each time all of them end within the kill timeout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(3600)
ROUNDS = 50
AWAY = "mongodb://a:b@127.0.0.1:1/"
"""Nobody is there: the servers start without their databases, and this is about their processes."""


@pytest.mark.parametrize(("tier", "kill_seconds"), [(("collection", "run"), 30), (("api",), 15)])
@pytest.mark.parametrize("workers", [1, 4])
def test_all_of_them_end(tier: tuple[str, ...], kill_seconds: int, workers: int, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "MILLRACE_HOME": str(tmp_path), "MILLRACE_MONGO_COLLECTION_URI": AWAY}
    environ |= {"MILLRACE_COLLECTION_CUSTOMER_SECRET": "0" * 64, "MILLRACE_CASSANDRA_HOSTS": "127.0.0.1:1"}
    for number in range(ROUNDS):
        url = f"http://127.0.0.1:{free_port()}"
        options = ("--port", url.rsplit(":", 1)[1], "--workers", str(workers))
        with (tmp_path / f"log{number}").open("wb") as log:
            command = [sys.executable, "-m", "millrace", *tier, *options]
            server = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda url=url: _answers(url), 120, "the server answers")  # type: ignore[misc]
            everybody = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
            started = time.monotonic()
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(kill_seconds)
            assert time.monotonic() - started < kill_seconds
            _, alive = psutil.wait_procs(everybody, 5)
            assert not alive
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
