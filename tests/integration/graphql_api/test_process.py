"""The process as it is run: start, readiness, the audits of GraphQL over HTTP, a clean stop."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.store import Store
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[3]
AUDIT = ROOT / "scripts" / "graphql-http-audit.mjs"


@contextmanager
def serving(environ: Mapping[str, str], *options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`millrace api` on a free port: its URL and process."""
    command = [sys.executable, "-m", "millrace", "api", "--port", "0", *options]
    with subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # What it logs later is read too: where nobody reads, a process that has filled the pipe hangs.
        reader = threading.Thread(target=process.stderr.read)
        try:
            while "serving" not in (line := process.stderr.readline()):
                assert line, f"the API ended with {process.poll()}"
            reader.start()
            yield json.loads(line)["url"], process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
            if reader.ident is not None:
                reader.join()


def status(url: str) -> int:
    """The status of an answer, or 0: it came to none."""
    try:
        return httpx.get(url, timeout=30).status_code
    except httpx.TransportError:
        return 0


def wait_for(url: str, wanted: int, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while (seen := status(url)) != wanted:
        assert time.monotonic() < deadline, f"{url} answers {seen}, not {wanted}"
        time.sleep(0.05)


def metric(url: str, name: str) -> float:
    """The sum of a metric's values, or of those of all whose names begin so."""
    lines = httpx.get(f"{url}/metrics", timeout=60).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one that nobody has waited for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_every_audit_of_graphql_over_http_passes(environ: dict[str, str], store: Store) -> None:
    local = ROOT / ".venv" / "bin" / "node"
    node = shutil.which("node") or (str(local) if local.exists() else None)
    assert node, "no Node: run `make graphiql`, which brings one"
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], 600)
    with serving(environ) as (url, _):
        wait_for(f"{url}/ready", 200)
        audit = subprocess.run([node, str(AUDIT), f"{url}/graphql", token], capture_output=True, text=True, timeout=300)
    assert (audit.returncode, audit.stdout.splitlines()[-1:]) == (0, ["61 of 61 audits pass"]), audit.stdout + audit.stderr


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_process_stops_cleanly(environ: dict[str, str], store: Store, stop: signal.Signals) -> None:
    with serving(environ) as (url, process):
        wait_for(f"{url}/ready", 200)
        process.send_signal(stop)
        assert process.wait(timeout=100) == 0


def test_a_killed_supervisor_takes_its_worker_along(environ: dict[str, str], store: Store) -> None:
    with serving(environ) as (url, process):
        wait_for(f"{url}/ready", 200)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.kill()
        process.wait()
        wait_until(lambda: not any(is_alive(worker) for worker in workers), 60, "its worker has ended")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health", timeout=30)


def test_a_repeated_question_is_answered_from_the_cache_and_not_modified(environ: dict[str, str], store: Store) -> None:
    store.progress(datetime(2026, 11, 4, tzinfo=UTC))
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], 600)
    range_ = 'start: "2026-11-03T00:00:00Z", end: "2026-11-04T00:00:00Z"'
    query = f'{{ series(merchantId: "kept", {range_}, currency: "USD") {{ totals {{ payments }} }} }}'
    with serving(environ) as (url, _):
        wait_for(f"{url}/ready", 200)

        def ask(**more: str) -> httpx.Response:
            return httpx.get(f"{url}/graphql", params={"query": query}, headers={"Authorization": f"Bearer {token}", **more}, timeout=30)

        deadline = time.monotonic() + 90  # the feed of notices may come up a moment after the store
        while (answer := ask()).headers["x-millrace-cache"] != "hit":
            assert time.monotonic() < deadline
        assert answer.headers["cache-control"] == "private, no-cache"
        again = ask(**{"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
        assert ask(**{"If-None-Match": '"another"'}).json() == {"data": {"series": {"totals": {"payments": 0}}}}

        query = query.replace("totals { payments }", "points { start gross }")
        whole = ask(**{"Accept-Encoding": "identity"})
        while (packed := ask()).headers["x-millrace-cache"] != "hit":
            assert time.monotonic() < deadline
        assert (packed.headers["content-encoding"], packed.content) == ("gzip", whole.content)
        assert int(packed.headers["content-length"]) < len(whole.content) / 3
        plain = ask(**{"Accept-Encoding": "gzip;q=0, br"})
        assert (plain.headers["x-millrace-cache"], plain.content) == ("hit", whole.content)
        assert "content-encoding" not in plain.headers
        assert "Accept-Encoding" in plain.headers["vary"]
        for encoding in ("gzip", "identity"):
            for tag in (whole.headers["etag"], packed.headers["etag"]):
                again = ask(**{"Accept-Encoding": encoding, "If-None-Match": tag})
                assert (again.status_code, again.content) == (304, b""), "either tag names what both of them say"


def test_a_kept_answer_is_given_no_longer_than_the_token_holds(environ: dict[str, str], store: Store) -> None:
    store.progress(datetime(2026, 11, 4, tzinfo=UTC))
    query = (
        '{ series(merchantId: "kept", start: "2026-11-03T00:00:00Z", end: "2026-11-04T00:00:00Z", currency: "USD") { points { gross } } }'
    )
    with serving({**environ, "MILLRACE_API_LEEWAY_SECONDS": "0"}) as (url, _):
        wait_for(f"{url}/ready", 200)
        hits, lifetime = 0, 2
        while not hits:  # a token ends before its answer is kept where all stands still for a moment: then one that holds longer
            lifetime *= 2
            assert lifetime < 200, "no answer was ever kept"
            token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], lifetime)
            headers, ends = {"Authorization": f"Bearer {token}"}, time.time() + lifetime
            began = time.time()
            while (answer := httpx.get(f"{url}/graphql", params={"query": query}, headers=headers, timeout=30)).is_success:
                assert began < ends
                hits += answer.headers["x-millrace-cache"] == "hit"
                time.sleep(0.05)
                began = time.time()
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")


def test_without_cassandra_the_process_lives_and_says_that_it_is_not_ready(environ: dict[str, str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refused
        away = {**environ, "MILLRACE_CASSANDRA_PORT": str(closed.getsockname()[1])}
        token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], 600)
        with serving(away) as (url, process):
            wait_for(f"{url}/ready", 503)
            assert status(f"{url}/health") == 200
            answer = httpx.post(
                f"{url}/graphql", json={"query": "{ freshness { asOf } }"}, headers={"Authorization": f"Bearer {token}"}, timeout=60
            )
            assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert httpx.get(f"{url}/v1/merchants", headers={"Authorization": f"Bearer {token}"}, timeout=60).status_code == 503
            assert process.poll() is None


def test_a_port_in_use_is_one_line_that_names_the_option(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "millrace", "api", "--port", str(taken.getsockname()[1])]
        result = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=200)
    assert result.returncode == 2
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr
