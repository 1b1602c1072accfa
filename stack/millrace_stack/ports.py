"""Ports: chosen once per home and remembered, so that a restart keeps its addresses."""

from __future__ import annotations

import errno
import secrets
import socket
import time
from collections.abc import Iterable, Mapping

import psutil

from millrace_stack.errors import PortTaken, StackError
from millrace_stack.home import Home, read_json, write_json

# Below the range from which the kernel takes the ports of outgoing connections (32768 on): one of those could hold a remembered port.
_FIRST, _LAST = 20000, 32000
_TRIES = 200
_LAST_THREADS = 5.0
"""Seconds: a process that has ended holds its ports until the last of its threads is gone, and no one can be named meanwhile."""


def assign(home: Home, names: Iterable[str], chosen: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the chosen one, else the remembered one, else a free one that is remembered from now on.

    A chosen one is remembered too, unless somebody listens on it: the start that it is for will fail, and the next one may not choose.

    Raises:
        StackError: no free port was found.
    """
    path = home.path / "ports.json"
    with home.lock("ports"):
        remembered = {name: int(port) for name, port in (read_json(path) or {}).items()}
        assigned = {**remembered, **chosen}
        for name in names:
            if name not in assigned:
                assigned[name] = _free(set(assigned.values()))
        taken = {name for name, port in chosen.items() if remembered.get(name) != port and not _is_free(port)}
        lasting = remembered | {name: port for name, port in assigned.items() if name not in taken}
        if lasting != remembered:
            write_json(path, lasting)
    return {name: assigned[name] for name in names}


def require_free(wanted: Mapping[str, int], within: float = 0.0) -> None:
    """Raise PortTaken for the first port that somebody listens on and still does after so many seconds."""
    began = time.monotonic()
    for name, port in wanted.items():
        while not _is_free(port):
            waited = time.monotonic() - began
            if waited > within:
                holder = _holder(port)
                if holder is not None or waited > _LAST_THREADS:
                    raise PortTaken(name, port, holder or "another program")
            time.sleep(0.05)


def _free(taken: set[int]) -> int:
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if port not in taken and _is_free(port):
            return port
    raise StackError(f"no free port between {_FIRST} and {_LAST}; name some with MILLRACE_STACK_PORTS=mongo=27017,…")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT is free, one with a listener is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise StackError(f"port {port} can not be used ({error.strerror}); choose another with MILLRACE_STACK_PORTS") from None
    return True


def _holder(port: int) -> str | None:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return None
