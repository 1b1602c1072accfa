"""Subscribers through losses: what Redis has forgotten or never heard, and servers that die, are told and never passed over in silence."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import redis

from millrace_contracts.notices import changed_key, epoch_key, missed_key
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.integration.graphql_api.test_subscriptions import QUERY, START, Served, event, merchant, run, served, sse_event, subscribe
from tests.support.servers import Servers

__all__ = ["environ", "merchant", "served", "store"]
pytestmark = pytest.mark.stack


def test_a_watermark_from_before_what_redis_has_forgotten_or_never_heard_is_told_to_read_again(served: Served, merchant: str) -> None:
    # Redis tells what has changed only as far as it can know: where it cannot, nothing is missed in silence.
    prefix, cache = served._prefix, served._cache

    async def resumed(after: str) -> Any:
        async with served.socket(merchant) as socket:
            await socket.send(subscribe(merchant, after=after))
            return await event(socket)

    async def scenario() -> None:
        served.paid(merchant, 5, version=10)
        served.paid(merchant, 6, version=11)
        assert not (await resumed("10"))["reset"]
        # Evicted, or Redis restarted, and then another day changes.
        served.paid(merchant, 7, version=12)
        cache.delete(changed_key(prefix, merchant))
        served.paid(merchant, 8, version=13, start=START.replace(day=4))
        lost = await resumed("11")
        assert (lost["reset"], lost["watermark"]) == (True, "13")
        known = await resumed("13")
        assert (known["reset"], known["windows"]) == (False, [])
        # The notice of 14 never reached Redis: the processors say so as soon as they can.
        served._store.report(merchant, START, "USD", Written([Paid(9)]), version=14)
        cache.set(missed_key(prefix), "15")
        cache.incr(epoch_key(prefix))
        assert (await resumed("13"))["reset"]
        served.paid(merchant, 10, version=15)
        assert not (await resumed("15"))["reset"]
        # Nor is anything known where a reader alone has made the hash anew, or the limit itself is gone.
        cache.delete(changed_key(prefix, merchant))
        cache.hset(changed_key(prefix, merchant), "2026-11-06", "rabc")
        assert (await resumed("15"))["reset"]
        served.paid(merchant, 11, version=16)
        cache.delete(missed_key(prefix))
        assert (await resumed("16"))["reset"]
        cache.set(missed_key(prefix), "0")

    run(scenario)


def test_subscribers_outlive_redis_and_cassandra_and_are_told_of_what_they_may_have_missed(
    environ: dict[str, str], store: Store, servers: Servers, merchant: str
) -> None:
    async def scenario(own: Served) -> None:
        async with own.socket(merchant) as socket, httpx.AsyncClient(base_url=own.url, timeout=60) as client:
            await socket.send(subscribe(merchant))
            assert (await event(socket))["reset"]
            headers = {"Accept": "text/event-stream", "Authorization": own.bearer(merchant)}
            body = {"query": QUERY, "variables": {"m": merchant}}
            async with client.stream("POST", "/graphql", json=body, headers=headers) as stream:
                lines = stream.aiter_lines()
                assert json.loads((await sse_event(lines))["data"])["data"]["reportsChanged"]["reset"]
                await asyncio.to_thread(servers.kill, "redis")
                store.report(merchant, START, "USD", Written([Paid(5)]), version=40)  # its notice is lost with Redis
                await asyncio.to_thread(servers.restart, "redis")
                assert (await event(socket))["reset"], "read again what you show"
                assert json.loads((await sse_event(lines))["data"])["data"]["reportsChanged"]["reset"]
                # An event whose reports can not be read says so, and the next one comes.
                own.until_trusted()
                await asyncio.to_thread(servers.pause, "cassandra")
                try:
                    own.notify(merchant, 41)
                    failed = (await socket.next())["payload"]
                    assert failed["errors"][0]["extensions"]["code"] in ("TIMEOUT", "UNAVAILABLE")
                    assert "errors" in json.loads((await sse_event(lines))["data"])
                finally:
                    await asyncio.to_thread(servers.resume, "cassandra")
                await asyncio.to_thread(wait_for, f"{own.url}/ready", 200)
                own.paid(merchant, 6, version=42)
                assert (await event(socket))["reports"][0]["gross"] == "6"
                assert json.loads((await sse_event(lines))["data"])["data"]["reportsChanged"]["reports"][0]["gross"] == "6"
        await own.open_subscriptions(0)

    store.merchant(merchant, "USD")
    limits = {"MILLRACE_API_TIMEOUT_SECONDS": "3", "MILLRACE_API_CHUNK_CACHE": "false"}
    with serving({**environ, **limits}) as (url, _), redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as cache:
        wait_for(f"{url}/ready", 200)
        own = Served(url, environ, store, cache)
        own.until_trusted()

        async def main() -> None:
            async with asyncio.timeout(400):
                await scenario(own)

        asyncio.run(main())
