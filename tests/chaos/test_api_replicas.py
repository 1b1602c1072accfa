"""Two replicas of the API behind nginx, as it is deployed: one killed under load costs no request beyond those in flight on it."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from millrace_graphql.token_cli import make_token
from millrace_stack import nginx as local_nginx
from millrace_stack.home import Home
from millrace_stack.processes import Processes
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.integration.graphql_api.test_subscriptions import QUERY, START, Served, event, sse_event, subscribe

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack
READERS = 8
PAUSE_SECONDS = 0.02
"""Between the requests of a reader, so that all of them stay below what nginx lets an address ask."""


@contextmanager
def nginx(folder: Path, *replicas: str) -> Iterator[str]:
    """nginx with deploy/nginx/nginx.conf in front of replicas: its URL."""
    home = Home(folder / "home")
    owned = local_nginx.start(home, {"api": [local_nginx.address(url) for url in replicas]}, {})
    try:
        yield f"http://127.0.0.1:{owned.port}"
    finally:
        Processes(home).stop(local_nginx.NAME)


@contextmanager
def replicas(environ: dict[str, str]) -> Iterator[tuple[str, int, str]]:
    """Two of them, ready: the URL and process of the one that will be killed, and the URL of the other."""
    with serving(environ) as (one, killed), serving(environ) as (two, _):
        for each in (one, two):
            wait_for(f"{each}/ready", 200)
        yield one, killed.pid, two


def kill(pid: int) -> None:
    """kill -9 of a replica with its workers."""
    for process in [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]:
        os.kill(process, signal.SIGKILL)


def test_a_killed_replica_costs_at_most_what_was_in_flight_on_it(environ: dict[str, str], store: Store, tmp_path: Path) -> None:
    store.merchant("behind", "USD")
    store.report("behind", START, "USD", Written([Paid(5)]))
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], 600)
    failed: list[str] = []
    answered = [0] * READERS
    stop = threading.Event()

    def ask(number: int, client: httpx.Client) -> bool:
        if number % 2:
            answer = client.get("/v1/merchants/behind/report", params={"start": f"{START:%Y-%m-%dT%H:%M:%SZ}"})
            good = answer.status_code == 200 and answer.json()["gross"] == "5"
        else:
            answer = client.post("/graphql", json={"query": "{ viewer { role } freshness { completeThrough } }"})
            good = answer.status_code == 200 and "errors" not in answer.json()
        if not good:
            failed.append(f"{answer.status_code} {answer.text[:200]}")
        return good

    def read(number: int, url: str) -> None:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            while not stop.is_set():
                try:
                    answered[number] += ask(number, client)
                except httpx.TransportError as error:
                    failed.append(repr(error))
                time.sleep(PAUSE_SECONDS)

    with replicas(environ) as (one, killed, two), nginx(tmp_path, one, two) as url:
        readers = [threading.Thread(target=read, args=(number, url)) for number in range(READERS)]
        for reader in readers:
            reader.start()
        time.sleep(3)
        before = sum(answered)
        assert (before > 0, failed) == (True, [])
        kill(killed)
        time.sleep(6)
        stop.set()
        for reader in readers:
            reader.join()
    assert sum(answered) > before, "the other replica goes on"
    assert min(answered) > 0
    assert len(failed) <= READERS, f"{len(failed)} of {sum(answered)} failed: {failed[:3]}"


def test_subscriptions_pass_through_and_are_taken_up_by_the_other_replica(environ: dict[str, str], store: Store, tmp_path: Path) -> None:
    store.merchant("pushed", "USD")
    store.progress(START)

    async def scenario(served: Served, killed: int) -> None:
        async with served.socket("pushed") as socket, httpx.AsyncClient(base_url=served.url, timeout=30) as client:
            await socket.send(subscribe("pushed"))
            assert (await event(socket))["reset"]
            headers = {"Accept": "text/event-stream", "Authorization": served.bearer("pushed")}
            body = {"query": QUERY, "variables": {"m": "pushed"}}
            async with client.stream("POST", "/graphql", json=body, headers=headers) as stream:
                lines = stream.aiter_lines()
                assert json.loads((await sse_event(lines))["data"])["data"]["reportsChanged"]["reset"]
                served.paid("pushed", 5, version=30)
                # nginx passes each event on at once.
                assert (await sse_event(lines))["id"] == "30"
                assert (await event(socket))["watermark"] == "30"
            kill(killed)
            served.paid("pushed", 6, version=31)
        async with served.socket("pushed") as socket:
            await socket.send(subscribe("pushed", after="30"))
            missed = await event(socket)
            assert (missed["reset"], missed["reports"][0]["gross"]) == (False, "6")
        again = {**headers, "Last-Event-ID": "30"}
        async with (
            httpx.AsyncClient(base_url=served.url, timeout=30) as client,
            client.stream("POST", "/graphql", json=body, headers=again) as stream,
        ):
            missed = json.loads((await sse_event(stream.aiter_lines()))["data"])["data"]["reportsChanged"]
            assert (missed["reset"], missed["reports"][0]["gross"]) == (False, "6")

    with (
        replicas(environ) as (one, killed, two),
        nginx(tmp_path, one, two) as url,
        redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as cache,
    ):
        for each in (one, two):
            trusted(Served(each, environ, store, cache))

        async def main() -> None:
            async with asyncio.timeout(90):
                await scenario(Served(url, environ, store, cache), killed)

        asyncio.run(main())


def trusted(replica: Served) -> None:
    """Wait until a replica hears of changes."""
    deadline = time.monotonic() + 20
    while replica.metric("millrace_api_notices_trusted") != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_for_operators_is_not_reached_and_a_large_body_ends_at_the_door(
    environ: dict[str, str], store: Store, tmp_path: Path
) -> None:
    with serving(environ) as (one, _):
        wait_for(f"{one}/ready", 200)
        with nginx(tmp_path, one) as url, httpx.Client(base_url=url, timeout=30) as client:
            assert [client.get(path).status_code for path in ("/metrics", "/ready", "/health", "/docs", "/graphiql")] == [
                404,
                404,
                404,
                200,
                200,
            ]
            assert client.post("/graphql", content=b"x" * 10_000_000, headers={"Content-Type": "application/json"}).status_code == 413
            assert client.get("/v1/merchants").status_code == 401, "the list of merchants is the API's"
            assert client.put("/v1/merchants/m1", json={}).status_code == 502, "a profile is the collection's, which is not here"
