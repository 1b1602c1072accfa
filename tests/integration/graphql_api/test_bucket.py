"""The bucket in Redis beside plain subtraction, and beside the bucket that a worker keeps when Redis is away."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from millrace_graphql.http.rate_limit import RateLimit, ThrottledError
from millrace_graphql.ranges.redis_wire import Command, Wire
from tests.integration.graphql_api.conftest import until

pytestmark = pytest.mark.stack


class Away:
    """A Redis that is away."""

    async def call(self, *_commands: Command) -> list[object]:
        raise RedisConnectionError("away")


@asynccontextmanager
async def wire_of(environ: dict[str, str], where: str) -> AsyncIterator[Wire]:
    if where == "worker":
        yield Away()  # type: ignore[misc]
        return
    wire = Wire(environ["MILLRACE_REDIS_URL"], 5.0)
    yield wire
    await wire.close()


def scenario(environ: dict[str, str], where: str, body: Callable[[Wire, str], Awaitable[None]]) -> None:
    async def main() -> None:
        async with wire_of(environ, where) as wire:
            await body(wire, environ["MILLRACE_NAMES_REDIS_PREFIX"])

    asyncio.run(main())


@pytest.mark.parametrize("where", ["redis", "worker"])
@pytest.mark.parametrize(("capacity", "rate"), [(1_000, 1), (1_000, 3), (7, 7), (50_000, 2_000)])
def test_what_is_left_is_what_was_there_less_what_was_taken_and_with_what_came_back(
    environ: dict[str, str], where: str, capacity: int, rate: int
) -> None:
    async def body(wire: Wire, prefix: str) -> None:
        limit, chance = RateLimit(wire, prefix, capacity, rate), random.Random(capacity + rate)
        taken, refused, began = 0, 0, time.monotonic()
        for _ in range(200):
            cost = chance.randrange(capacity // 3 + 1)
            try:
                throttle = await limit.take(f"sums-{capacity}-{rate}", cost)
                taken += cost
            except ThrottledError as error:
                throttle, refused = error.throttle, refused + 1
                assert throttle.available < cost
            back = math.ceil((time.monotonic() - began) * rate)
            assert max(0, capacity - taken) <= throttle.available <= min(capacity, capacity - taken + back)
        assert refused or back >= capacity

    scenario(environ, where, body)


def test_a_clock_that_was_set_back_leaves_an_empty_bucket_that_fills(environ: dict[str, str]) -> None:
    async def body(wire: Wire, prefix: str) -> None:
        limit = RateLimit(wire, prefix, 100, 1)
        in_a_year = int((time.time() + 365 * 86_400) * 1_000_000)
        await wire.call(("SET", f"{prefix}:{{back}}:full", str(in_a_year)))
        with pytest.raises(ThrottledError) as refused:
            await limit.take("back", 1)
        assert (refused.value.throttle.available, refused.value.wait) == (0, 1)

        async def paid() -> bool:
            try:
                return (await limit.take("back", 1)).taken
            except ThrottledError:
                return False

        await until(paid)

    scenario(environ, "redis", body)


def test_a_request_that_costs_nothing_passes_an_empty_bucket(environ: dict[str, str]) -> None:
    async def body(wire: Wire, prefix: str) -> None:
        limit = RateLimit(wire, prefix, 100, 1)
        await limit.take("free", 100)
        assert (await limit.take("free", 0)).taken

    scenario(environ, "redis", body)
