"""The total time of a body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from millrace_runtime.bodies import SlowBodyError, body_parts

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def receiver(*messages: Message | None) -> Callable[[], asyncio.Future[Message]]:
    """A receive that gives these one after the other; None never comes."""
    left = list(messages)

    def receive() -> asyncio.Future[Message]:
        found: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        message = left.pop(0)
        if message is not None:
            found.set_result(message)
        return found

    return receive


def part(content: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_parts_come_in_order_to_the_end() -> None:
    receive = receiver(part(b"a", more=True), part(b"", more=True), part(b"b", more=False))
    assert [found async for found in body_parts(receive, 60)] == [b"a", b"b"]


async def test_a_client_that_goes_is_told_apart_from_an_end() -> None:
    with pytest.raises(ClientDisconnect):
        [found async for found in body_parts(receiver(part(b"a", more=True), {"type": "http.disconnect"}), 60)]


async def test_parts_that_stay_away_are_slow() -> None:
    parts = body_parts(receiver(part(b"a", more=True), None), 0.01)
    assert await anext(parts) == b"a"
    with pytest.raises(SlowBodyError, match=r"within 0\.01 s"):
        await anext(parts)
