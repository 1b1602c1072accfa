"""The port that a server's command is to listen on, looked at before any worker starts: else a worker dies again and again."""

from __future__ import annotations

import socket
import time

import click

from millrace_contracts.settings import KEEP_LOCAL, RuntimeSettings

PATIENCE_SECONDS = 3.0
"""A process that is replaced may hold its port for a moment."""


def address_for(runtime: RuntimeSettings, given: str | None) -> str:
    """The address to listen on: the option's where it was given, else the setting's.

    Raises:
        click.UsageError: the option would open a local process to other machines.
    """
    if given and runtime.is_exposed(given):
        raise click.UsageError(f"--host {given} {KEEP_LOCAL}")
    return given or runtime.host


def port_for(address: str, port: int, patience: float = PATIENCE_SECONDS) -> int:
    """The port itself, or a free one where 0 is asked for; ``address`` is a name, or an address of IPv4 or IPv6.

    Raises:
        click.UsageError: nobody can listen there, or another process does and goes on for ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _bound(address, port)
        except OSError as error:
            if time.monotonic() >= deadline:
                fix = "choose another, 0 for a free one"
                raise click.UsageError(f"--port {port}: can not listen on {address}:{port} ({error.strerror}); {fix}") from None
        time.sleep(0.1)


def _bound(address: str, port: int) -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        return int(probe.getsockname()[1])
