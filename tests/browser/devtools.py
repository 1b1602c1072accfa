"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Page:
    """One page. Every request that it makes, and everything that its console says, is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())
        self.requested: list[str] = []
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        content = json.dumps({"id": number, "method": method, "params": parameters}).encode()
        self._writer.write(b"\x81\xff" + struct.pack(">Q", len(content)) + b"\0\0\0\0" + content)
        answer = await self._answers[number]
        assert "error" not in answer, answer
        return answer["result"]

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = 30) -> Any:
        """Wait until an expression is true, and its value."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.evaluate(script)
                if found:
                    return found
                await asyncio.sleep(0.1)

    async def screenshot(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])

    async def _read(self) -> None:
        while True:
            content = b""
            final = False
            while not final:
                head = await self._reader.readexactly(2)
                final, size = bool(head[0] & 0x80), head[1] & 127
                if size >= 126:
                    size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
                content += await self._reader.readexactly(size)
            self._take(json.loads(content))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers.pop(message["id"]).set_result(message)
        elif message["method"] == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] in ("warning", "error"):
            self.complaints.append(message["params"]["entry"]["text"])

    def close(self) -> None:
        """End the connection."""
        self._reading.cancel()
        self._writer.transport.abort()


@asynccontextmanager
async def browser(url: str) -> AsyncIterator[Page]:
    """A page of a browser of its own."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no Chromium: run `make browser`, which installs it"
    with tempfile.TemporaryDirectory(prefix="millrace-browser-", ignore_cleanup_errors=True) as folder:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"]
        process = await asyncio.create_subprocess_exec(
            program, *options, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank", stderr=asyncio.subprocess.PIPE
        )
        try:
            page = await _page(process)
            for domain in ("Page", "Network", "Log", "Runtime"):
                await page.call(f"{domain}.enable")
            await page.call("Page.navigate", url=url)
            yield page
            page.close()
        finally:
            process.kill()
            await process.wait()


async def _page(process: asyncio.subprocess.Process) -> Page:
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while not (found := re.search(rb"ws://127\.0\.0\.1:(\d+)/", line := await process.stderr.readline())):
            assert line, "Chromium has ended"
    port = int(found[1])
    targets = json.loads(await _get(port, "/json/list"))
    path = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page").split(f":{port}")[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return Page(reader, writer)


async def _get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    size = re.search(rb"content-length:\s*(\d+)", head, re.IGNORECASE)
    body = await reader.readexactly(int(size[1])) if size else await reader.read()
    writer.close()
    return body
