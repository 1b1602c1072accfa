"""Push over a WebSocket and as server-sent events, against the process as it is run."""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from millrace_contracts.notices import SINCE, changed_key, channel, missed_key
from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import metric, serving, wait_for
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

START = datetime(2026, 11, 6, 8, tzinfo=UTC)
PROTOCOL = "graphql-transport-ws"
QUERY = """subscription($m: ID!, $after: BigInt) {
  reportsChanged(merchantId: $m, after: $after) { watermark reset windows reports { start gross } }
}"""


class Socket:
    """A client of WebSockets, as RFC 6455 has it, for tests only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: dict[str, Any] | str) -> None:
        content = (message if isinstance(message, str) else json.dumps(message)).encode()
        mask = os.urandom(4)
        size = bytes([0x80 | len(content)]) if len(content) < 126 else bytes([0x80 | 127]) + struct.pack(">Q", len(content))
        self._writer.write(b"\x81" + size + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(content)))
        await self._writer.drain()

    async def next(self) -> Any:
        """The next message, or the code that the connection is closed with; pings are left out."""
        while True:
            head = await self._reader.readexactly(2)
            size = head[1] & 127
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            content = await self._reader.readexactly(size)
            if head[0] & 15 == 8:
                return int.from_bytes(content[:2], "big")
            message = json.loads(content)
            if message["type"] != "ping":
                return message

    def abort(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def connected(url: str, protocol: str = PROTOCOL, more: str = "") -> AsyncIterator[Socket]:
    host = url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /graphql HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n{more}\r\n".encode()
    )
    answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert answer.startswith("http/1.1 101"), answer
    assert protocol != PROTOCOL or f"sec-websocket-protocol: {PROTOCOL}" in answer
    try:
        yield Socket(reader, writer)
    finally:
        writer.transport.abort()


class Served:
    """The process, and what the processors do beside it."""

    def __init__(self, url: str, environ: dict[str, str], store: Store, cache: "redis.Redis") -> None:
        self.url = url
        self._keys = Path(environ["MILLRACE_HOME"]) / "keys"
        self._prefix = environ["MILLRACE_NAMES_REDIS_PREFIX"]
        self._store = store
        self._cache = cache
        cache.set(missed_key(self._prefix), "0")  # as the processors do when they start

    def until_trusted(self) -> None:
        """Wait until the process hears notices."""
        wait_until(lambda: self.metric("millrace_api_notices_trusted") == 1, 90, "notices are heard")

    def bearer(self, *merchants: str, seconds: int = 600) -> str:
        return f"Bearer {make_token(self._keys, 'merchant', list(merchants), seconds)}"

    def paid(self, merchant: str, amount: int, version: int, start: datetime = START) -> None:
        """A report is written and its notice published."""
        self._store.report(merchant, start, "USD", Written([Paid(amount)]), version=version)
        self.notify(merchant, version, start)

    def notify(self, merchant: str, version: int, start: datetime = START) -> None:
        """A notice is published."""
        ms = int(start.timestamp()) * 1000
        notice = {"merchantId": merchant, "grain": "10m", "windows": [[ms, "USD"]], "version": version, "completeThrough": None}
        with self._cache.pipeline(transaction=False) as pipe:
            pipe.hsetnx(changed_key(self._prefix, merchant), SINCE, str(version))
            pipe.hset(changed_key(self._prefix, merchant), f"{start:%Y-%m-%d}", str(version))
            pipe.publish(channel(self._prefix), json.dumps(notice))
            pipe.execute()

    def metric(self, name: str) -> float:
        return metric(self.url, name)

    async def open_subscriptions(self, count: int) -> None:
        deadline = time.monotonic() + 90
        while (seen := self.metric("millrace_api_subscriptions")) != count:
            assert time.monotonic() < deadline, f"{seen} subscriptions are open"
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def socket(self, *merchants: str, seconds: int = 600) -> AsyncIterator[Socket]:
        async with connected(self.url) as socket:
            await socket.send({"type": "connection_init", "payload": {"Authorization": self.bearer(*merchants, seconds=seconds)}})
            assert await socket.next() == {"type": "connection_ack"}
            yield socket


@pytest.fixture(scope="module")
def served(environ: dict[str, str], store: Store) -> Iterator[Served]:
    store.progress(START)
    with serving(environ) as (url, _), redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as client:
        wait_for(f"{url}/ready", 200)
        found = Served(url, environ, store, client)
        found.until_trusted()
        yield found


@pytest.fixture
def merchant() -> str:
    return f"push-{secrets.token_hex(4)}"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(240):
            await scenario()

    asyncio.run(main())


def subscribe(merchant: str, key: str = "1", after: str | None = None) -> dict[str, Any]:
    return {"id": key, "type": "subscribe", "payload": {"query": QUERY, "variables": {"m": merchant, "after": after}}}


async def event(socket: Socket) -> Any:
    message = await socket.next()
    assert message["type"] == "next", message
    return message["payload"]["data"]["reportsChanged"]


async def pushed(socket: Socket, served: Served, merchant: str, amount: int, version: int) -> Any:
    """The event of a report; where Redis was away for a moment, as a reset says, its notice is published again."""
    served.paid(merchant, amount, version)
    while (found := await event(socket))["reset"] or int(found["watermark"]) < version:
        if found["reset"]:
            served.notify(merchant, version)
    return found


def test_changes_are_pushed_over_a_socket_and_resumed_after_a_lost_connection(served: Served, merchant: str) -> None:
    async def scenario() -> None:
        async with served.socket(merchant) as socket:
            await socket.send(subscribe(merchant))
            assert (await event(socket))["reset"], "read what you show now; from here on nothing is missed"
            assert await pushed(socket, served, merchant, 5, version=10) == {
                "watermark": "10", "reset": False, "windows": ["2026-11-06T08:00:00Z"],
                "reports": [{"start": "2026-11-06T08:00:00Z", "gross": "5"}],
            }  # fmt: skip
            assert (await pushed(socket, served, merchant, 7, version=11))["reports"][0]["gross"] == "7"
            socket.abort()
        served.paid(merchant, 9, version=12, start=START.replace(hour=10))
        served.paid(merchant, 8, version=13, start=START.replace(day=4))
        async with served.socket(merchant) as socket:
            await socket.send(subscribe(merchant, after="11"))
            missed = await event(socket)
            assert (missed["reset"], missed["watermark"]) == (False, "13")
            assert missed["windows"] == ["2026-11-04T08:00:00Z", "2026-11-06T10:00:00Z"]
            assert [report["gross"] for report in missed["reports"]] == ["9", "8"]
        await served.open_subscriptions(0)

    run(scenario)


def test_another_merchants_changes_are_not_opened_and_not_heard(served: Served, merchant: str) -> None:
    # I9
    async def scenario() -> None:
        async with served.socket(merchant) as socket:
            await socket.send(subscribe("somebody-else", "2"))
            refused = await socket.next()
            assert (refused["type"], refused["id"]) == ("error", "2")
            assert refused["payload"][0]["extensions"]["code"] == "FORBIDDEN"
            await socket.send(subscribe(merchant))
            await event(socket)
            served.paid("somebody-else", 1, version=1)
            assert (await pushed(socket, served, merchant, 2, version=2))["reports"][0]["gross"] == "2"

    run(scenario)


def test_server_sent_events_carry_the_same_and_resume_by_last_event_id(served: Served, merchant: str) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
            headers = {"Accept": "text/event-stream", "Authorization": served.bearer(merchant)}
            body = {"query": QUERY, "variables": {"m": merchant}}
            async with client.stream("POST", "/graphql", json=body, headers=headers) as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                lines = stream.aiter_lines()
                first = await sse_event(lines)
                assert json.loads(first["data"])["data"]["reportsChanged"]["reset"]
                served.paid(merchant, 5, version=20)
                second = await sse_event(lines)
                assert (second["id"], second["event"]) == ("20", "next")
                assert json.loads(second["data"])["data"]["reportsChanged"]["reports"][0]["gross"] == "5"
            served.paid(merchant, 6, version=21)
            async with client.stream("POST", "/graphql", json=body, headers={**headers, "Last-Event-ID": "20"}) as stream:
                missed = json.loads((await sse_event(stream.aiter_lines()))["data"])["data"]["reportsChanged"]
                assert (missed["reset"], missed["reports"][0]["gross"]) == (False, "6")
        await served.open_subscriptions(0)

    run(scenario)


async def sse_event(lines: AsyncIterator[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    async for line in lines:
        if not line and found:
            return found
        name, _, value = line.partition(":")
        if name:
            found[name] = value.removeprefix(" ")
    raise AssertionError("the stream has ended")


def test_a_query_as_server_sent_events_is_one_event_and_the_end(served: Served, merchant: str) -> None:
    headers = {"Accept": "text/event-stream", "Authorization": served.bearer(merchant)}
    answer = httpx.post(f"{served.url}/graphql", json={"query": "{ viewer { role } }"}, headers=headers, timeout=30)
    assert answer.text == 'event: next\ndata: {"data":{"viewer":{"role":"merchant"}}}\n\nevent: complete\ndata:\n\n'


def test_progress_is_pushed(served: Served, store: Store, merchant: str) -> None:
    async def scenario() -> None:
        async with served.socket(merchant) as socket:
            await socket.send({"id": "f", "type": "subscribe", "payload": {"query": "subscription { freshness { completeThrough } }"}})
            first = (await socket.next())["payload"]["data"]["freshness"]["completeThrough"]
            later = datetime.fromisoformat(first).replace(year=2027)
            store.progress(later)
            while (seen := (await socket.next())["payload"]["data"]["freshness"]["completeThrough"]) == first:
                pass  # it is told again after a connection that was lost
            assert seen == f"{later:%Y-%m-%dT%H:%M:%SZ}"
            await socket.send({"id": "f", "type": "complete"})
            await served.open_subscriptions(0)

    run(scenario)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["x"], 4400),
        (["[]"], 4400),
        ([{"type": "subscribe", "id": "1", "payload": {"query": "{ viewer { role } }"}}], 4401),
        ([{"type": "connection_init"}], 4401),
        ([{"type": "connection_init", "payload": {"Authorization": "Bearer x.y.z"}}], 4401),
        (["INIT", {"type": "connection_init"}], 4429),
        (["INIT", {"type": "nothing"}], 4400),
        (["INIT", {"type": "subscribe", "payload": {"query": "{ viewer { role } }"}}], 4400),
        (["INIT", {"type": "subscribe", "id": "1", "payload": {"query": 5}}], 4400),
        (["INIT", '{"type":"subscribe","id":"1","payload":{"query":"{ viewer { role } }","query":"{ viewer { role } }"}}'], 4400),
        (["INIT", '{"type":"ping","type":"pong"}'], 4400),
        (["INIT", "SUBSCRIBE 1", "SUBSCRIBE 1"], 4409),
        (["INIT", *(f"SUBSCRIBE {n}" for n in range(26))], 4429),
        (["INIT", '{"type":"ping","payload":"' + "x" * 300_000 + '"}'], 4400),
    ],
)
def test_a_client_that_breaks_the_protocol_is_closed_with_its_code(
    served: Served, merchant: str, messages: list[dict[str, Any] | str], code: int
) -> None:
    async def scenario() -> None:
        async with connected(served.url) as socket:
            for message in messages:
                if message == "INIT":
                    message = {"type": "connection_init", "payload": {"Authorization": served.bearer(merchant)}}
                elif isinstance(message, str) and message.startswith("SUBSCRIBE"):
                    message = subscribe(merchant, message.split()[1])
                await socket.send(message)
            while isinstance(seen := await socket.next(), dict):
                pass
            assert seen == code
        await served.open_subscriptions(0)

    run(scenario)


def test_a_handshake_with_two_authorization_headers_is_closed(served: Served, merchant: str) -> None:
    async def scenario() -> None:
        more = f"Authorization: {served.bearer(merchant)}\r\n" * 2
        async with connected(served.url, more=more) as socket:
            assert await socket.next() == 4400

    run(scenario)


def test_another_subprotocol_is_not_taken(served: Served) -> None:
    async def scenario() -> None:
        async with connected(served.url, protocol="graphql-ws") as socket:
            assert await socket.next() == 4406

    run(scenario)


def test_a_connection_ends_with_its_token(environ: dict[str, str], store: Store, merchant: str) -> None:
    async def scenario() -> None:
        with serving({**environ, "MILLRACE_API_LEEWAY_SECONDS": "0"}) as (url, _):
            wait_for(f"{url}/ready", 200)
            opened, lifetime = False, 1
            while not opened:  # a token ends before it opens anything where all stands still for a moment: then one that holds longer
                lifetime *= 2
                token, ends = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", [merchant], lifetime), time.time() + lifetime
                async with connected(url) as socket:
                    await socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
                    if opened := await socket.next() == {"type": "connection_ack"}:
                        assert await socket.next() == 4401
                    assert time.time() > ends - 2, "not before its end, which is a whole second"

    run(scenario)


def test_with_a_manifest_only_its_documents_run_over_any_transport(
    environ: dict[str, str], store: Store, merchant: str, tmp_path: Path
) -> None:
    manifest = tmp_path / "trusted.json"
    manifest.write_text(json.dumps({hashlib.sha256(QUERY.encode()).hexdigest(): QUERY}))
    other = "subscription { freshness { asOf } }"
    with serving({**environ, "MILLRACE_API_TRUSTED_DOCUMENTS": str(manifest)}) as (url, _):
        wait_for(f"{url}/ready", 200)
        with redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as cache:
            trusting = Served(url, environ, store, cache)

            async def scenario() -> None:
                async with trusting.socket(merchant) as socket:
                    await socket.send(subscribe(merchant))
                    assert (await event(socket))["reset"]
                    await socket.send({"id": "2", "type": "subscribe", "payload": {"query": other}})
                    refused = await socket.next()
                    assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "UNTRUSTED_DOCUMENT")

            run(scenario)
            headers = {"Authorization": trusting.bearer(merchant)}
            for accept in ("text/event-stream", "application/json", "application/graphql-response+json"):
                for query in (other, "{ viewer { role } }", "{ __schema { queryType { name } } }", QUERY + " "):
                    answer = httpx.post(f"{url}/graphql", json={"query": query}, headers={**headers, "Accept": accept}, timeout=30)
                    assert "UNTRUSTED_DOCUMENT" in answer.text
                    assert '"data":{' not in answer.text


def test_clients_that_vanish_leave_nothing_behind(served: Served, merchant: str) -> None:
    async def scenario() -> None:
        for _ in range(3):
            contexts = [connected(served.url) for _ in range(40)]
            sockets = [await context.__aenter__() for context in contexts]
            for socket in sockets:
                await socket.send({"type": "connection_init", "payload": {"Authorization": served.bearer(merchant)}})
                await socket.send(subscribe(merchant))
            await served.open_subscriptions(40)
            for socket in sockets:
                socket.abort()
            await served.open_subscriptions(0)
        assert served.metric("millrace_api_subscriptions") == 0

    run(scenario)
