"""Fan-out: many subscribers of one merchant on one worker, and how long a change takes to reach each of them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import statistics
import struct
import time
from collections.abc import Mapping
from typing import Any

import uvloop
from redis.asyncio import Redis

from api_requests import Asker
from api_server import Process
from api_store import DAY, merchant_name
from millrace_contracts.notices import channel
from millrace_contracts.settings import NamesSettings, RedisSettings

QUERY = "subscription($m: ID!) { reportsChanged(merchantId: $m) { watermark windows reports { start payments gross } } }"
CHANGES = 5


class Client:
    """One WebSocket; reads whole frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, token: str, merchant: str) -> Client:
        """Connect, introduce oneself and subscribe."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /graphql HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\nSec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        client = cls(reader, writer)
        client.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
        await client.next()
        client.send({"id": "1", "type": "subscribe", "payload": {"query": QUERY, "variables": {"m": merchant}}})
        await client.next()
        return client

    def send(self, message: dict[str, Any]) -> None:
        """One masked text frame; the mask is zero, as this is no browser."""
        content = json.dumps(message).encode()
        size = bytes([0x80 | len(content)]) if len(content) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(content))
        self.writer.write(b"\x81" + size + b"\0\0\0\0" + content)

    async def next(self) -> bytes:
        """The next message but pings."""
        while True:
            head = await self._reader.readexactly(2)
            size = head[1] & 127
            if size == 126:
                size = int.from_bytes(await self._reader.readexactly(2), "big")
            content = await self._reader.readexactly(size)
            if b'"ping"' not in content:
                return content


def fan_out(environ: Mapping[str, str], process: Process, asker: Asker, clients: int) -> dict[str, Any]:
    """Milliseconds from the notice to each reader over some changes, and what each reader costs in processor time and memory."""
    port = int(process.url.rsplit(":", 1)[1])
    _allow_files(clients * 2)
    empty = process.rss_bytes()

    async def main() -> dict[str, Any]:
        names, merchant = NamesSettings.load(environ), merchant_name(3)
        token = asker.token(merchant)
        opened: list[Client] = []
        began = time.perf_counter()
        for first in range(0, clients, 200):
            opened += await asyncio.gather(*(Client.open(port, token, merchant) for _ in range(first, min(clients, first + 200))))
        opening = time.perf_counter() - began
        delays: list[float] = []
        before = process.cpu_seconds()
        async with Redis.from_url(RedisSettings.load(environ).url) as redis:
            for version in range(1, CHANGES + 1):
                start = int(DAY.timestamp()) * 1000 + version * 600_000
                notice = {"merchantId": merchant, "grain": "10m", "windows": [[start, "USD"]], "version": version, "completeThrough": None}
                published = time.perf_counter()

                async def receive(client: Client, since: float = published) -> float:
                    await client.next()
                    return time.perf_counter() - since

                waiting = [asyncio.create_task(receive(client)) for client in opened]
                await redis.publish(channel(names.redis_prefix), json.dumps(notice))
                delays += await asyncio.gather(*waiting)
        busy, full = process.cpu_seconds() - before, process.rss_bytes()
        for client in opened:
            client.writer.transport.abort()
        ordered = sorted(delays)
        return {
            "clients": clients,
            "openedPerSecond": round(clients / opening),
            "cpuMicrosEach": round(busy / len(delays) * 1e6, 1),
            "kibEach": round((full - empty) / clients / 1024, 1),
            "medianMs": round(1000 * statistics.median(ordered)),
            "p99Ms": round(1000 * ordered[int(0.99 * len(ordered))]),
            "lastMs": round(1000 * ordered[-1]),
        }

    return uvloop.run(main())


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
