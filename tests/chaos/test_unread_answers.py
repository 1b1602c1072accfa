"""An answer of a bulk body that nobody reads: it takes its whole time, which is why this is not beside the other bounds."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import httpx
import psutil

from tests.integration.collection.conftest import declared
from tests.integration.collection.processes import DEADLINE_SECONDS, until
from tests.integration.collection.test_bounds import Settings, chunk, opened, send_all, serving, spooled

__all__ = ["declared"]


def test_an_answer_that_nobody_reads_is_let_go(declared: Settings, tmp_path: Path) -> None:
    """Its spool is closed and its place given back within the time, and the worker does not hold it in memory."""
    with serving(declared, tmp_path, BULK_SECONDS="20", BULK_SPOOL_BYTES=str(48 << 20), BULK_PER_KEY="1") as api:
        (worker,) = api.workers()
        before = psutil.Process(worker.pid).memory_info().rss
        connection = opened(api.url, api, "POST /v1/payments/bulk")
        sending = threading.Thread(target=send_all, args=(connection, chunk(b"0\n" * 30_000), 100))
        sending.start()
        until(lambda: bool(spooled(api, tmp_path)), "answers are kept")
        until(lambda: not spooled(api, tmp_path), "they are let go")
        assert psutil.Process(worker.pid).memory_info().rss - before < 32 << 20
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        sending.join()
        assert httpx.post(f"{api.url}/v1/payments/bulk", content=b"", headers=api.headers, timeout=DEADLINE_SECONDS).status_code == 200
