"""Two replicas of the API behind nginx: one killed under load costs no request beyond those in flight on it."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Store
from tests.integration.graphql_api.test_process import serving, wait_for

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack
READERS = 8
# As deploy/nginx/nginx.conf has it: another replica is asked where the first was not reached; a GET may be asked again.
CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  upstream api {{
    zone api 64k; least_conn; keepalive 64;
    server {one} max_fails=2 fail_timeout=5s; server {two} max_fails=2 fail_timeout=5s;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_connect_timeout 2s;
      proxy_next_upstream error timeout; proxy_next_upstream_tries 2;
    }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path, one: str, two: str) -> Iterator[str]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "no nginx here; on Debian or Ubuntu: apt-get install -y --no-install-recommends nginx-light"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hosts = {"one": one.removeprefix("http://"), "two": two.removeprefix("http://")}
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=port, **hosts))
    with subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/ready", 200)
            yield url
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)


def test_a_killed_replica_costs_at_most_what_was_in_flight_on_it(environ: dict[str, str], store: Store, tmp_path: Path) -> None:
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], 600)
    failed: list[str] = []
    answered = [0] * READERS
    stop = threading.Event()

    def read(number: int, url: str) -> None:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            while not stop.is_set():
                try:
                    answer = client.post("/graphql", json={"query": "{ viewer { role } freshness { completeThrough } }"})
                    if answer.status_code == 200 and "errors" not in answer.json():
                        answered[number] += 1
                    else:
                        failed.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.TransportError as error:
                    failed.append(repr(error))

    with serving(environ) as (one, killed), serving(environ) as (two, _):
        for each in (one, two):
            wait_for(f"{each}/ready", 200)
        with nginx(tmp_path, one, two) as url:
            readers = [threading.Thread(target=read, args=(number, url)) for number in range(READERS)]
            for reader in readers:
                reader.start()
            time.sleep(3)
            before = sum(answered)
            assert (before > 0, failed) == (True, [])
            for process in [killed.pid, *(child.pid for child in psutil.Process(killed.pid).children(recursive=True))]:
                os.kill(process, signal.SIGKILL)
            time.sleep(6)
            stop.set()
            for reader in readers:
                reader.join()
    assert sum(answered) > before, "the other replica goes on"
    assert len(failed) <= READERS, f"{len(failed)} of {sum(answered)} failed: {failed[:3]}"
