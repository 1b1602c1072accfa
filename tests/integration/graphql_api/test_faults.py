"""Redis, Cassandra and clients that die, hang or come back: what the API answers meanwhile and afterwards."""

import json
import resource
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from cassandra.cluster import NoHostAvailable

from millrace_contracts.notices import changed_key, channel
from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import metric, serving, status, wait_for
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

START = datetime(2026, 11, 7, 8, tzinfo=UTC)
QUERY = 'query($m: ID!, $s: DateTime!) { report(merchantId: $m, start: $s, currency: "USD") { gross } }'


class Api:
    """The process, asked as one merchant."""

    def __init__(self, url: str, environ: dict[str, str], merchant: str, pid: int | None = None) -> None:
        self.url, self.pid = url, pid
        self._merchant = merchant
        self._token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", [merchant], 600)
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {self._token}"}, timeout=60)

    def files(self) -> int:
        """Files and sockets that the process and its workers have open."""
        family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return sum(each.num_fds() for each in family)

    def all_files(self) -> int:
        """The same, once it has opened what it needs to work."""
        wait_until(lambda: metric(self.url, "millrace_api_notices_trusted") == 1, 90, "notices are heard")
        return self.files()

    def body(self) -> dict[str, Any]:
        return {"query": QUERY, "variables": {"m": self._merchant, "s": START.isoformat()}}

    def ask(self) -> httpx.Response:
        return self.client.post("/graphql", json=self.body())

    def gross(self) -> str | None:
        """The amount, or None of an error."""
        answer = self.ask().json()
        return answer["data"]["report"]["gross"] if "errors" not in answer else None

    def becomes(self, wanted: str | None, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while (seen := self.gross()) != wanted:
            assert time.monotonic() < deadline, f"{seen} and not {wanted}"
            time.sleep(0.05)

    def kept(self) -> None:
        """Wait until the answer comes out of the cache."""
        deadline = time.monotonic() + 90
        while self.ask().headers.get("x-millrace-cache") != "hit":
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def merchant() -> str:
    return f"fault-{secrets.token_hex(4)}"


@contextmanager
def api(environ: dict[str, str], merchant: str, **settings: str) -> Iterator[Api]:
    more = {f"MILLRACE_API_{name.upper()}": value for name, value in settings.items()}
    with serving({**environ, **more}) as (url, process):
        wait_for(f"{url}/ready", 200)
        found = Api(url, environ, merchant, process.pid)
        with found.client:
            yield found


def writable(store: Store) -> None:
    """The test's own session has found the restarted Cassandra too."""
    deadline = time.monotonic() + 120
    while True:
        try:
            store.session.execute("SELECT key FROM system.local")
            return
        except NoHostAvailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def notify(environ: dict[str, str], merchant: str, version: int) -> None:
    prefix = environ["MILLRACE_NAMES_REDIS_PREFIX"]
    windows = [[int(START.timestamp()) * 1000, "USD"]]
    notice = {"merchantId": merchant, "grain": "10m", "windows": windows, "version": version, "completeThrough": None}
    with redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as client, client.pipeline(transaction=False) as pipe:
        pipe.hset(changed_key(prefix, merchant), f"{START:%Y-%m-%d}", str(version))
        pipe.publish(channel(prefix), json.dumps(notice))
        pipe.execute()


def test_redis_killed_and_back_costs_speed_only(environ: dict[str, str], store: Store, servers: Servers, merchant: str) -> None:
    store.report(merchant, START, "USD", Written([Paid(1)]), version=1)
    with api(environ, merchant) as asked:
        asked.becomes("1")
        asked.kept()
        servers.kill("redis")
        try:
            store.report(merchant, START, "USD", Written([Paid(2)]), version=2)  # its notice is lost with Redis
            asked.becomes("2")
            for _ in range(20):
                assert asked.gross() == "2", "no error, and nothing from before"
            assert status(f"{asked.url}/ready") == 200
        finally:
            servers.restart("redis")
        asked.kept()
        store.report(merchant, START, "USD", Written([Paid(3)]), version=3)
        notify(environ, merchant, 3)
        asked.becomes("3")


def test_redis_that_hangs_is_given_up_within_its_time(environ: dict[str, str], store: Store, servers: Servers, merchant: str) -> None:
    store.report(merchant, START, "USD", Written([Paid(1)]), version=1)
    with api(environ, merchant) as asked:
        asked.becomes("1")
        asked.kept()
        servers.pause("redis")
        try:
            store.report(merchant, START, "USD", Written([Paid(2)]), version=2)
            asked.becomes("2")
        finally:
            servers.resume("redis")
        asked.kept()


def test_slow_cassandra_ends_in_the_time_budget_and_kept_answers_go_on(
    environ: dict[str, str], store: Store, servers: Servers, merchant: str
) -> None:
    other = f"{merchant}-other"
    for each in (merchant, other):
        store.report(each, START, "USD", Written([Paid(4)]), version=1)
    with api(environ, merchant, timeout_seconds="2", chunk_cache="false") as asked:
        asked.becomes("4")
        asked.kept()
        uncached = Api(asked.url, environ, other)
        servers.pause("cassandra")
        try:
            asked.kept()
            began = time.monotonic()
            answer = uncached.ask()
            assert answer.json()["errors"][0]["extensions"]["code"] in ("TIMEOUT", "UNAVAILABLE")
            assert time.monotonic() - began < 18
        finally:
            servers.resume("cassandra")
        uncached.becomes("4")
        uncached.client.close()


def test_clients_that_go_in_mid_request_leave_the_server_as_it_was(environ: dict[str, str], store: Store, merchant: str) -> None:
    store.report(merchant, START, "USD", Written([Paid(6)]), version=1)
    with api(environ, merchant, response_cache_bytes="0", chunk_cache="false") as asked:
        asked.becomes("6")
        before = asked.all_files()
        host, port = asked.url.removeprefix("http://").split(":")
        body = json.dumps(asked.body()).encode()
        authorization = asked.client.headers["authorization"]
        head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: {authorization}\r\n"
        whole = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        for cut in [*range(1, len(whole), 37), len(whole)]:
            with socket.create_connection((host, int(port))) as client:
                client.sendall(whole[:cut])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an orderly end
        assert asked.gross() == "6"
        deadline = time.monotonic() + 90
        while (left := asked.files()) > before:
            assert time.monotonic() < deadline, f"{left} files are open and not {before}"
            time.sleep(0.1)


def test_what_clients_that_went_had_asked_for_keeps_nobody_out(
    environ: dict[str, str], store: Store, servers: Servers, merchant: str
) -> None:
    # More reads than Cassandra is asked at once, all hanging, all of clients that go: their time ends, and their places are free again.
    store.report(merchant, START, "USD", Written([Paid(8)]), version=1)
    with api(environ, merchant, timeout_seconds="3", cassandra_reads="4", response_cache_bytes="0", chunk_cache="false") as asked:
        asked.becomes("8")
        before = asked.all_files()
        host, port = asked.url.removeprefix("http://").split(":")
        authorization = asked.client.headers["authorization"]
        servers.pause("cassandra")
        try:
            gone, taken = [], metric(asked.url, "millrace_api_documents_total")
            for number in range(40):
                variables = {"m": merchant, "s": START.replace(day=1 + number % 6).isoformat()}
                body = json.dumps({"query": QUERY, "variables": variables}).encode()
                head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: {authorization}\r\n"
                client = socket.create_connection((host, int(port)))
                client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                gone.append(client)
            wait_until(lambda: metric(asked.url, "millrace_api_documents_total") >= taken + 40, 90, "all of them are taken")
            for client in gone:
                client.close()
            began = time.monotonic()
            assert asked.ask().json()["errors"][0]["extensions"]["code"] in ("TIMEOUT", "UNAVAILABLE")
            assert time.monotonic() - began < 18
        finally:
            servers.resume("cassandra")
        asked.becomes("8")
        deadline = time.monotonic() + 90
        while (left := asked.files()) > before:
            assert time.monotonic() < deadline, f"{left} files are open and not {before}"
            time.sleep(0.1)


def test_ten_thousand_idle_sockets_keep_nobody_out(environ: dict[str, str], store: Store, merchant: str) -> None:
    store.report(merchant, START, "USD", Written([Paid(7)]), version=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 24_000), hard))
    try:
        with api(environ, merchant) as asked, ExitStack() as idle:
            asked.becomes("7")
            host, port = asked.url.removeprefix("http://").split(":")
            for _ in range(10_000):
                idle.enter_context(socket.create_connection((host, int(port)), timeout=30))
            assert asked.gross() == "7"
            fresh = Api(asked.url, environ, merchant)
            assert fresh.gross() == "7"
            fresh.client.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_cassandra_killed_and_back(environ: dict[str, str], store: Store, servers: Servers, merchant: str) -> None:
    other = f"{merchant}-other"
    for each in (merchant, other):
        store.report(each, START, "USD", Written([Paid(5)]), version=1)
    with api(environ, merchant, chunk_cache="false") as asked:
        asked.becomes("5")
        asked.kept()
        uncached = Api(asked.url, environ, other)
        servers.kill("cassandra")
        try:
            asked.kept()  # what is kept is still what the store holds
            assert uncached.ask().json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            wait_for(f"{asked.url}/ready", 503)
        finally:
            servers.restart("cassandra")
        wait_for(f"{asked.url}/ready", 200)
        writable(store)
        uncached.becomes("5")
        uncached.client.close()
