"""Many subscribers of one worker: everyone hears, nobody waits for another, and nothing is left when they go."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import psutil
import pytest

from tests.integration.graphql_api.conftest import environ, store, until
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.integration.graphql_api.test_subscriptions import (
    START,
    Served,
    Socket,
    connected,
    event,
    merchant,
    run,
    served,
    subscribe,
)

__all__ = ["environ", "merchant", "served", "store"]
pytestmark = pytest.mark.stack
SUBSCRIBERS = 300


async def opened(stack: AsyncExitStack, served: Served, merchant: str, count: int) -> list[Socket]:
    """So many sockets, each subscribed and past its first event."""

    async def one() -> Socket:
        socket = await stack.enter_async_context(connected(served.url))
        await socket.send({"type": "connection_init", "payload": {"Authorization": token}})
        assert await socket.next() == {"type": "connection_ack"}
        await socket.send(subscribe(merchant))
        assert (await event(socket))["reset"] is True
        return socket

    token = served.bearer(merchant)
    return [
        socket for first in range(0, count, 50) for socket in await asyncio.gather(*(one() for _ in range(first, min(first + 50, count))))
    ]


async def heard(socket: Socket, last: int) -> list[int]:
    """The watermarks of a subscriber's events up to the last change; the reports in them are those of their time or newer."""
    marks: list[int] = []
    while not marks or marks[-1] < last:
        found = await event(socket)
        marks.append(int(found["watermark"]))
        assert [int(report["gross"]) >= 100 * marks[-1] for report in found["reports"]] == [True]
    return marks


def test_every_subscriber_hears_of_every_change_and_none_waits_for_one_that_does_not_read(served: Served, merchant: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            sockets = await opened(stack, served, merchant, SUBSCRIBERS)
            await served.open_subscriptions(SUBSCRIBERS)
            readers = [asyncio.create_task(heard(socket, 5)) for socket in sockets[1:]]  # the first one never reads
            for version in range(1, 6):
                served.paid(merchant, 100 * version, version)
                await asyncio.sleep(0.1)
            for marks in await asyncio.gather(*readers):
                assert marks == sorted(set(marks)), "changes that come while a reader is busy are one event, and none comes twice"
        await served.open_subscriptions(0)

    run(scenario)


def test_subscribers_of_another_merchant_hear_nothing(served: Served, merchant: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            others = await opened(stack, served, f"{merchant}-other", 20)
            mine = await opened(stack, served, merchant, 20)
            served.paid(merchant, 700, 7)
            assert [(await event(socket))["watermark"] for socket in mine] == ["7"] * 20
            served.paid(f"{merchant}-other", 900, 9, START + timedelta(hours=1))
            assert [(await event(socket))["watermark"] for socket in others] == ["9"] * 20

    run(scenario)


def test_sockets_that_come_and_go_leave_nothing_behind(served: Served, environ: dict[str, str], merchant: str) -> None:
    with serving(environ) as (url, process):
        wait_for(f"{url}/ready", 200)
        own = Served(url, environ, served._store, served._cache)
        own.until_trusted()
        [worker] = psutil.Process(process.pid).children(recursive=True)
        files, sizes = worker.num_fds(), []

        async def scenario() -> None:
            for _ in range(5):
                async with AsyncExitStack() as stack:
                    await opened(stack, own, merchant, 150)
                    await own.open_subscriptions(150)
                await own.open_subscriptions(0)
                await until(lambda: worker.num_fds() <= files + 10)  # the server has closed its ends
                sizes.append(worker.memory_info().rss)

        run(scenario)
    # 300 sockets that stayed would be 50 MiB.
    assert sizes[-1] - sizes[-3] < 20 * 2**20, sizes
