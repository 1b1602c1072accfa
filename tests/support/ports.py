"""Ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import secrets
import socket

import psutil

_FIRST, _LAST = 12_000, 20_000
"""Below the range from which the kernel takes the ports of outgoing connections, one of which could take a port between its choice
and its use; beside the one from which the stack takes its own."""
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on; never the same one twice in a run."""
    for _ in range(1_000):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if port not in _given and not listens(port):
            _given.add(port)
            return port
    raise AssertionError(f"no free port between {_FIRST} and {_LAST}")


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listening_ports(process: psutil.Process) -> set[int]:
    """Those that a process listens on; none of one that has just ended."""
    with contextlib.suppress(psutil.Error):
        return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    return set()
