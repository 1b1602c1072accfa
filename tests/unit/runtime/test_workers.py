"""A supervisor and its workers as real processes, which a test kills and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_until

KILL_SECONDS = 20
RUN = """
import sys
from millrace_runtime.workers import serve
serve("tests.unit.runtime.answering:create", "127.0.0.1", int(sys.argv[1]), workers=int(sys.argv[2]), kill_timeout=int(sys.argv[3]))
"""


class Server:
    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process, self.url = process, url

    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def answering(self) -> int | None:
        """The worker that answers; None where nobody does."""
        try:
            return int(httpx.get(self.url, timeout=5).text)
        except (httpx.HTTPError, ValueError):
            return None


@contextmanager
def serving(workers: int, folder: Path, kill_seconds: int = KILL_SECONDS) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-c", RUN, str(port), str(workers), str(kill_seconds)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: server.answering() is not None and len(server.workers()) == workers, 60, "the workers answer")
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # at once: a supervisor replaces a worker that was killed before it
        process.wait()


@pytest.mark.parametrize("workers", [1, 4])
def test_a_worker_that_was_killed_is_replaced(workers: int, tmp_path: Path) -> None:
    with serving(workers, tmp_path) as server:
        before = server.workers()
        os.kill(max(before), signal.SIGKILL)
        wait_until(lambda: len(server.workers() - before) == 1, 60, "another one is started")
        wait_until(lambda: server.answering() in server.workers(), 60, "somebody answers")
        assert server.process.poll() is None
        assert len(server.workers() & before) == workers - 1


@pytest.mark.parametrize("workers", [1, 4])
def test_a_signal_to_parent_and_workers_at_once_ends_them_all(workers: int, tmp_path: Path) -> None:
    with serving(workers, tmp_path) as server:
        started = time.monotonic()
        os.killpg(server.process.pid, signal.SIGTERM)
        assert server.process.wait(KILL_SECONDS) == 0
        assert time.monotonic() - started < KILL_SECONDS
        assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_worker_that_does_not_end_is_killed_within_the_time(tmp_path: Path) -> None:
    with serving(1, tmp_path, 6) as server:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert not psutil.pid_exists(worker)


def test_a_supervisor_that_hangs_ends_itself(tmp_path: Path) -> None:
    """Whatever holds the main thread: here it waits for a lock in the handler's place, as Granian's own handler could."""
    hanging = "from millrace_runtime.workers import Supervisor, serve\nSupervisor.shutdown = lambda self: __import__('time').sleep(600)"
    program = RUN.replace("from millrace_runtime.workers import serve", hanging)
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", program, str(port), "1", "5"], stdout=log, stderr=log)
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: server.answering() is not None, 60, "the worker answers")
        process.terminate()
        assert process.wait(60) == 6
        assert "stop_took_too_long" in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
