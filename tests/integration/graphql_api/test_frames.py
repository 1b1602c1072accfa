"""WebSockets that nobody has introduced: bounded in bytes and number, below the application."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from millrace_contracts.notices import channel
from millrace_graphql.http.transport_ws import MOST_UNKNOWN
from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import storeless, until
from tests.integration.graphql_api.test_memory import MIB, Served
from tests.integration.graphql_api.test_process import metric, serving, wait_for
from tests.integration.graphql_api.test_subscriptions import Socket, connected

__all__ = ["storeless"]
pytestmark = pytest.mark.stack

SOCKETS, PIECE, MOST_SENT = 100, 2**20, 64 * 2**20


@pytest.fixture(scope="module")
def served(storeless: dict[str, str]) -> Iterator[Served]:
    keys = Path(storeless["MILLRACE_HOME"]) / "keys"
    make_token(keys, "merchant", ["own"], 600)
    with serving(storeless) as (url, process):
        wait_for(f"{url}/health", 200)
        found = Served(url, process.pid, keys)
        yield found
        found.close()


def frame(first: int, size: int) -> bytes:
    """A frame of zeros under a mask of zeros."""
    return bytes([first, 0x80 | 127]) + size.to_bytes(8, "big") + bytes(4) + bytes(size)


async def flood(url: str) -> tuple[object, int]:
    """One text message of fragments without end: the code that it is closed with, and how much was sent."""
    async with connected(url) as socket:
        code = asyncio.ensure_future(socket.next())
        sent, first = 0, 0x01
        with contextlib.suppress(OSError):
            while not code.done() and sent < MOST_SENT:
                socket._writer.write(frame(first, PIECE))
                await socket._writer.drain()
                sent, first = sent + PIECE, 0x00
        try:
            return await code, sent
        except (OSError, asyncio.IncompleteReadError):
            return "closed", sent


def test_a_message_without_end_is_closed_and_takes_no_memory(served: Served) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(base_url=served.url, timeout=60) as client, asyncio.TaskGroup() as tasks:
            floods = [tasks.create_task(flood(served.url)) for _ in range(SOCKETS)]
            while not all(each.done() for each in floods):
                assert (await client.get("/health")).status_code == 200
                assert served.rss() - before < 32 * MIB
                await asyncio.sleep(0.01)
        found = [each.result() for each in floods]
        assert {code for code, _ in found} <= {4400, "closed"}
        assert any(code == 4400 for code, _ in found)

    before = served.rss()
    asyncio.run(asyncio.wait_for(main(), 300))
    assert served.rss() - before < 32 * MIB


def test_of_too_many_strangers_the_oldest_goes_and_a_caller_comes_in(served: Served) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            strangers: list[Socket] = [await stack.enter_async_context(connected(served.url)) for _ in range(MOST_UNKNOWN + 1)]
            assert await strangers[0].next() == 4408
            caller = await stack.enter_async_context(connected(served.url))
            await caller.send({"type": "connection_init", "payload": served.other})
            assert await caller.next() == {"type": "connection_ack"}

    asyncio.run(asyncio.wait_for(main(), 300))


def test_a_caller_may_send_as_much_as_over_http_and_no_more(served: Served) -> None:
    async def main() -> None:
        async with connected(served.url) as socket:
            await socket.send({"type": "connection_init", "payload": served.other})
            assert await socket.next() == {"type": "connection_ack"}
            request = {"id": "1", "type": "subscribe", "payload": {"query": "{ viewer { role } }" + " " * 200_000}}
            await socket.send(request)
            assert (await socket.next())["payload"] == {"data": {"viewer": {"role": "merchant"}}}
            assert (await socket.next())["type"] == "complete"
            socket._writer.write(frame(0x81, 262_145))
            assert await socket.next() == 4400

    asyncio.run(asyncio.wait_for(main(), 300))


def test_changes_are_pushed_and_a_client_that_goes_leaves_nothing(served: Served, storeless: dict[str, str]) -> None:
    prefix = storeless["MILLRACE_NAMES_REDIS_PREFIX"]
    query = 'subscription { reportsChanged(merchantId: "other") { watermark } }'

    async def main() -> None:
        async with connected(served.url) as socket:
            await socket.send({"type": "connection_init", "payload": served.other})
            assert await socket.next() == {"type": "connection_ack"}
            await socket.send({"id": "1", "type": "subscribe", "payload": {"query": query}})
            await until(lambda: metric(served.url, "millrace_api_subscriptions") == 1)
            with redis.Redis.from_url(storeless["MILLRACE_REDIS_URL"]) as client:
                for version in range(1, 200):
                    notice = {"merchantId": "other", "grain": "10m", "windows": [[0, "USD"]], "version": version, "completeThrough": None}
                    client.publish(channel(prefix), json.dumps(notice))
                    seen = 0  # an event before it may say to read again
                    while seen < version:
                        seen = int((await socket.next())["payload"]["data"]["reportsChanged"]["watermark"])
                    assert seen == version
            socket.abort()
        await until(lambda: metric(served.url, "millrace_api_subscriptions") == 0)

    asyncio.run(asyncio.wait_for(main(), 300))
