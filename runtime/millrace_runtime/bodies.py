"""A total time for the body of a request. A limit between two reads lets a caller who sends a byte now and then hold it for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive

CLOSE = {"Connection": "close"}
"""Headers of an answer to a body that was not read to its end: the rest is not waited for."""


class SlowBodyError(Exception):
    """The body did not arrive whole within its time; the answer is 408."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body did not arrive within {seconds:g} s; send it faster, or in smaller requests")


async def body_parts(receive: Receive, seconds: float) -> AsyncIterator[bytes]:
    """The parts of a body as they arrive, empty ones left out. The time runs from the first read on, also while a part is worked on.

    Raises:
        SlowBodyError: ``seconds`` were over before its end.
        ClientDisconnect: the client went away.
    """
    ends = asyncio.get_running_loop().time() + seconds
    more = True
    while more:
        try:
            async with asyncio.timeout_at(ends):
                message = await receive()
        except TimeoutError:
            raise SlowBodyError(seconds) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        if part := message.get("body", b""):
            yield part
