"""Our own tiers as processes of a home: what to run, in which order, and how to know that each is ready."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from millrace_stack import ports
from millrace_stack.errors import StackError
from millrace_stack.home import Home
from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import http_ok
from millrace_stack.settings import StackSettings

DECLARE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Declaring collections, validators, indexes and roles", ("mongo-init", "apply")),
    ("Declaring topics", ("topics", "apply")),
    ("Declaring connectors", ("connect", "apply")),
    ("Declaring tables of the lake and the report store", ("process", "tables")),
)
ORDER = ("collection", "relay", "processors", "api")
"""Payments can be posted from the first on; the others catch up."""
KEY = "MILLRACE_COLLECTION_KEY"
_ADDRESSES = {"collection": "MILLRACE_COLLECTION_URL", "api": "MILLRACE_API_URL"}


def millrace(home: Home, arguments: Sequence[str], *, detached: bool = False) -> str:
    """Run one ``millrace`` command to its end and return what it printed; ``detached`` shields it from Ctrl-C.

    Raises:
        StackError: it failed; the message is its own last line.
    """
    done = subprocess.run(
        [sys.executable, "-m", "millrace", *arguments],
        env={**os.environ, "MILLRACE_HOME": str(home.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=detached,
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise StackError(f"millrace {' '.join(arguments)}: {(lines or ['exit code ' + str(done.returncode)])[-1].removeprefix('Error: ')}")
    return done.stdout


def specs(home: Home, environ: Mapping[str, str]) -> dict[str, ProcessSpec]:
    """How each tier is run, in order; publishes the addresses that programs join.

    Raises:
        StackError: no free port.
    """
    assigned = ports.assign(home, ORDER, StackSettings.load(environ).chosen_ports())
    home.publish({variable: f"http://127.0.0.1:{assigned[tier]}" for tier, variable in _ADDRESSES.items()})
    commands = {
        "collection": ("collection", "run", "--port", str(assigned["collection"])),
        "relay": ("relay", "run", "--ops-port", str(assigned["relay"])),
        "processors": ("process", "stream", "--trigger", "5 seconds", "--ops-port", str(assigned["processors"])),
        "api": ("api", "--port", str(assigned["api"])),
    }
    environment = {"MILLRACE_HOME": str(home.path), "PYTHONUNBUFFERED": "1"}
    if "MILLRACE_COLLECTION_REQUEST_LOG" not in environ:
        environment["MILLRACE_COLLECTION_REQUEST_LOG"] = str(home.folder("logs") / "collection-requests.log")
    return {
        tier: ProcessSpec(
            name=tier,
            command=[sys.executable, "-m", "millrace", *commands[tier]],
            ready=http_ok(f"http://127.0.0.1:{assigned[tier]}/ready"),
            environment=environment,
            ports={tier: assigned[tier]},
            ready_within=180.0 if tier == "processors" else 90.0,
            stop_within=60.0 if tier == "processors" else 20.0,
        )
        for tier in ORDER
    }
