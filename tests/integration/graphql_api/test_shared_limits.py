"""What the workers share through Redis: a tenant's points, and documents by their hash."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

import pytest

from millrace_graphql.http.persisted import PersistedQueries, PersistedQueryNotFoundError
from millrace_graphql.http.rate_limit import RateLimit, ThrottledError
from millrace_graphql.http.request import GraphQLRequest
from millrace_graphql.ranges.redis_wire import Wire
from tests.integration.graphql_api.conftest import until

pytestmark = pytest.mark.stack


@contextlib.asynccontextmanager
async def workers(environ: dict[str, str]) -> AsyncIterator[tuple[Wire, Wire]]:
    pair = Wire(environ["MILLRACE_REDIS_URL"], 60.0), Wire(environ["MILLRACE_REDIS_URL"], 60.0)
    yield pair
    for wire in pair:
        await wire.close()


def test_two_workers_take_from_one_bucket_and_it_fills_again(environ: dict[str, str]) -> None:
    async def main() -> None:
        async with workers(environ) as wires:
            one, two = (RateLimit(wire, environ["MILLRACE_NAMES_REDIS_PREFIX"], 1_000, 1) for wire in wires)
            assert (await one.take("m", 400)).available == 600
            assert 200 <= (await two.take("m", 400)).available < 500, "a point comes back each second"
            with pytest.raises(ThrottledError) as refused:
                await one.take("m", 900)
            assert 400 < refused.value.wait <= 700
            assert (await two.take("other", 1)).available == 999
            [lifetime] = await wires[0].call(("PTTL", f"{environ['MILLRACE_NAMES_REDIS_PREFIX']}:{{m}}:full"))
            assert 0 < lifetime <= 1_001_000, "an idle tenant leaves nothing behind"

            faster = RateLimit(wires[0], environ["MILLRACE_NAMES_REDIS_PREFIX"], 1_000, 1_000)

            async def paid() -> bool:
                try:
                    await faster.take("m", 900)
                except ThrottledError:
                    return False
                return True

            await until(paid)

    asyncio.run(main())


def test_a_hundred_requests_at_once_take_no_more_than_there_is(environ: dict[str, str]) -> None:
    async def main() -> None:
        async with workers(environ) as wires:
            limits = [RateLimit(wire, environ["MILLRACE_NAMES_REDIS_PREFIX"], 10_000, 1) for wire in wires]
            taken = await asyncio.gather(*(limits[n % 2].take("crowd", 1_000) for n in range(100)), return_exceptions=True)
            assert sum(not isinstance(each, ThrottledError) for each in taken) == 10

    asyncio.run(main())


def test_a_document_that_one_worker_was_sent_is_known_to_the_other_by_its_hash(environ: dict[str, str]) -> None:
    async def main() -> None:
        async with workers(environ) as wires:
            one, two = (PersistedQueries(wire, environ["MILLRACE_NAMES_REDIS_PREFIX"]) for wire in wires)
            text = "query Shared { viewer { role } }"
            key = hashlib.sha256(text.encode()).hexdigest()
            named = {"persistedQuery": {"version": 1, "sha256Hash": key}}
            with pytest.raises(PersistedQueryNotFoundError):
                await two.text(GraphQLRequest("", {}, None, False, named))
            await one.register(GraphQLRequest(text, {}, None, False, named), text, "payer")
            assert await two.text(GraphQLRequest("", {}, None, False, named)) == text
            await wires[0].call(("SET", f"{environ['MILLRACE_NAMES_REDIS_PREFIX']}:document:{'0' * 64}", "{ another }"))
            forged = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}
            with pytest.raises(PersistedQueryNotFoundError):
                await two.text(GraphQLRequest("", {}, None, False, forged))

    asyncio.run(main())
