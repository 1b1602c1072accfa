"""Our own tiers as processes of a home: what to run, in which order, and how to know that each is ready."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from millrace_stack import ports
from millrace_stack.errors import Ended
from millrace_stack.home import Home
from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import http_ok
from millrace_stack.settings import StackSettings

DECLARE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Declaring collections, validators, indexes and roles", ("mongo-init", "apply")),
    ("Declaring topics", ("topics", "apply")),
    ("Declaring connectors", ("connect", "apply")),
    ("Declaring tables of the report store", ("process", "tables", "--store-only")),
)
ORDER = ("collection", "relay", "processors", "api")
"""Payments can be posted from the first on; the others catch up."""
KEY = "MILLRACE_COLLECTION_KEY"
LAKE_PARTITION = "MILLRACE_LAKE_TIME_PARTITION"
JOIN_FILES = "MILLRACE_PROCESSORS_JOIN_FILES_EVERY"
_ADDRESSES = {"collection": "MILLRACE_COLLECTION_URL", "api": "MILLRACE_API_URL"}


def millrace(home: Home, arguments: Sequence[str], *, detached: bool = False, tell: Callable[[str], None] | None = None) -> str:
    """Run one ``millrace`` command to its end and return what it printed.

    ``detached`` shields it from Ctrl-C; ``tell`` gets each line that it writes to standard error, as it comes.

    Raises:
        Ended: it failed; the message is its own last line.
    """
    command = [sys.executable, "-m", "millrace", *arguments]
    environment = {**os.environ, "MILLRACE_HOME": str(home.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, start_new_session=detached
    ) as child:
        said: list[str] = []
        reader = threading.Thread(target=_listen, args=(child.stderr, said, tell), daemon=True)
        reader.start()
        try:
            printed = child.stdout.read() if child.stdout else ""
            code = child.wait()
        except BaseException:
            child.terminate()
            raise
        finally:
            reader.join(30)
    if code:
        lines = [line for line in [*printed.splitlines(), *said] if line.strip()]
        raise Ended(f"millrace {' '.join(arguments)}: {(lines or [f'exit code {code}'])[-1].removeprefix('Error: ')}", code)
    return printed


def _listen(stream: IO[str] | None, said: list[str], tell: Callable[[str], None] | None) -> None:
    for line in stream or ():
        said.append(line.rstrip())
        if tell is not None:
            tell(f"  {line.rstrip()}")


def specs(home: Home, environ: Mapping[str, str]) -> dict[str, ProcessSpec]:
    """How each tier is run, in order; publishes the addresses that programs join.

    Raises:
        StackError: no free port.
    """
    assigned = ports.assign(home, ORDER, StackSettings.load(environ).chosen_ports())
    home.publish({variable: f"http://127.0.0.1:{assigned[tier]}" for tier, variable in _ADDRESSES.items()})
    # One batch of the replay spans a year: by days it would leave hundreds of files of a few rows. Published, since it is
    # `process tables` that makes the table.
    home.publish({LAKE_PARTITION: environ.get(LAKE_PARTITION) or "months"})
    commands = {
        "collection": ("collection", "run", "--port", str(assigned["collection"])),
        "relay": ("relay", "run", "--ops-port", str(assigned["relay"])),
        "processors": ("process", "stream", "--trigger", "5 seconds", "--ops-port", str(assigned["processors"])),
        "api": ("api", "--port", str(assigned["api"])),
    }
    environment = {"MILLRACE_HOME": str(home.path), "PYTHONUNBUFFERED": "1"}
    # A batch every five seconds leaves many small files, and nobody else joins them here.
    environment |= {JOIN_FILES: "100"} if JOIN_FILES not in environ else {}
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
