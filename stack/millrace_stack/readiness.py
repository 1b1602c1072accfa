"""Wait until a process answers: poll a probe of its own protocol with a deadline."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from millrace_stack.errors import StackError

Probe = Callable[[], bool]
"""Whether the process answers; raising means not yet."""

_PAUSE = 0.1
_LAST_LINES = 5


class Cancelled(StackError):
    """The wait was given up because the whole start was."""


class NotReady(Exception):
    """It answers, and says what it waits for."""


def http_ok(url: str, login: tuple[str, str] | None = None) -> Probe:
    """A probe that wants a 200 from a URL, logged in as ``login`` (user, password) where there is one."""

    def probe() -> bool:
        answer = httpx.get(url, timeout=2.0, trust_env=False, auth=login)
        if answer.status_code != httpx.codes.OK:
            raise NotReady(f"{answer.status_code} {answer.text[:300]}")
        return True

    return probe


def tcp_answers(port: int, request: bytes, expected: bytes) -> Probe:
    """A probe that sends bytes and wants an answer that begins with ``expected``."""

    def probe() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(request)
            received = b""
            while len(received) < len(expected):
                part = connection.recv(64)
                if not part:
                    return False
                received += part
        return received.startswith(expected)

    return probe


def wait_until_ready(name: str, probe: Probe, alive: Callable[[], bool], seconds: float, log: Path, cancelled: threading.Event) -> None:
    """Return when the probe is true.

    Raises:
        Cancelled: ``cancelled`` was set.
        StackError: the process ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    last = "it does not answer"
    while True:
        if cancelled.is_set():
            raise Cancelled(f"{name}: start cancelled")
        if not alive():
            raise StackError(f"{name} ended while starting; {tail(log)}")
        try:
            if probe():
                return
        except Exception as error:  # every driver has its own way to say "not yet"
            last = f"{type(error).__name__}: {error}".splitlines()[0]
        if time.monotonic() > deadline:
            raise StackError(f"{name} is not ready after {seconds:.0f} s ({last}); {tail(log)}")
        cancelled.wait(_PAUSE)


def tail(log: Path, lines: int = _LAST_LINES) -> str:
    """The end of a log for an error message."""
    try:
        text = log.read_bytes()[-4096:].decode(errors="replace").rstrip().splitlines()[-lines:]
    except OSError:
        text = []
    return f"last lines of {log}:\n  " + "\n  ".join(text) if text else f"{log} is empty"
