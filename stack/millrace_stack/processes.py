"""Own a named process: start it, know it again, signal it and nobody else.

    processes = Processes(home)
    processes.start(ProcessSpec("relay", [...], ready=http_ok("http://127.0.0.1:9400/ready")))
    processes.stop("relay")

A process gets a session of its own, so that a Ctrl-C at the terminal does not reach it, a log file ``<home>/logs/<name>.log`` and a
record ``<home>/run/<name>.json``. The record is written before the process starts (with a token that its environment carries) and again
with its pid, so that not even a crash in between leaves a process that nobody owns.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from millrace_stack import identity, ports
from millrace_stack.errors import StackError
from millrace_stack.home import Home, read_json, write_json
from millrace_stack.identity import Identity
from millrace_stack.readiness import Probe, tail, wait_until_ready

_LOG_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True)
class ProcessSpec:
    """What to run and how to know that it is ready."""

    name: str
    command: Sequence[str]
    ready: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to ours."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports by name that must be free before it starts; the first one is shown."""
    ready_within: float = 60.0
    stop_within: float = 20.0
    """Seconds between SIGTERM and SIGKILL."""
    cwd: Path | None = None


@dataclass(frozen=True)
class Owned:
    """A process that is ours and alive, or was when we looked."""

    name: str
    identity: Identity
    token: str
    port: int | None
    stop_within: float

    @property
    def pid(self) -> int:
        """Process id."""
        return self.identity.pid


@dataclass(frozen=True)
class Status:
    """One line of ``millrace stack status``."""

    name: str
    pid: int
    port: int | None
    rss_bytes: int
    """Of the process and its children."""
    uptime_seconds: float
    state: str
    """running, or paused after SIGSTOP."""


class Processes:
    """The processes of one home; any program that opens the same home sees the same ones."""

    def __init__(self, home: Home, cancelled: threading.Event | None = None) -> None:
        self._home = home
        self._cancelled = cancelled or threading.Event()

    def start(self, spec: ProcessSpec) -> Owned:
        """Start and wait until it is ready; one that already runs is only waited for.

        Raises:
            PortTaken: another program listens there.
            StackError: it ended or did not get ready in time (it is stopped then); the message shows its last log lines.
        """
        with self._home.lock(f"start-{spec.name}"):
            owned = self.find(spec.name)
            child: subprocess.Popen[bytes] | None = None
            port = next(iter(spec.ports.values()), None)
            if owned is not None and owned.port != port:
                raise StackError(f"{spec.name} runs on port {owned.port}, not {port}; stop it first with `millrace stack down`")
            if owned is None:
                # A killed process counts as ended while its last threads still hold its port.
                patience = 10.0 if self._read(spec.name) else 0.0
                self._stop_orphans(spec.name)
                ports.require_free(spec.ports, patience)
                owned, child = self._spawn(spec)
            try:
                wait_until_ready(
                    spec.name,
                    spec.ready,
                    lambda: identity.alive(owned.identity),
                    spec.ready_within,
                    self._home.log(spec.name),
                    self._cancelled,
                )
            except BaseException:
                if child is not None:
                    self.stop(spec.name, within=5.0)
                raise
        return owned

    def find(self, name: str) -> Owned | None:
        """The living process of that name."""
        owned = self._read(name)
        return owned if owned and identity.alive(owned.identity) else None

    def names(self) -> list[str]:
        """Names with a record, alive or stale."""
        return sorted(path.stem for path in (self._home.path / "run").glob("*.json"))

    def stop(self, name: str, within: float | None = None) -> bool:
        """SIGTERM, then SIGKILL to what is left of its group; whether anything ran. The record is removed."""
        owned = self._read(name)
        if owned is None:
            return False
        ran = bool(identity.members(owned.identity, owned.token))
        identity.send_group(owned.identity, owned.token, signal.SIGCONT)
        identity.send(owned.identity, signal.SIGTERM)
        seconds = owned.stop_within if within is None else within
        if not self._wait_gone(owned, seconds, leader_only=True) or identity.members(owned.identity, owned.token):
            self._kill_group(owned)
        self._record(name).unlink(missing_ok=True)
        return ran

    def kill(self, name: str) -> bool:
        """SIGKILL to the whole group, as a crash would be; the record stays, so that the next start finds it stale."""
        owned = self.find(name)
        if owned is None:
            return False
        self._kill_group(owned)
        return True

    def pause(self, name: str) -> bool:
        """SIGSTOP to the whole group: the process hangs but keeps its connections."""
        return self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> bool:
        """SIGCONT after ``pause``."""
        return self._signal(name, signal.SIGCONT)

    def status(self, name: str) -> Status | None:
        """How a living process does; None where it does not run."""
        owned = self.find(name)
        if owned is None:
            return None
        try:
            process = psutil.Process(owned.pid)
            group = [psutil.Process(pid) for pid in identity.members(owned.identity, owned.token)]
            rss = sum(member.memory_info().rss for member in group)
            state = "paused" if process.status() == psutil.STATUS_STOPPED else "running"
            return Status(name, owned.pid, owned.port, rss, time.time() - process.create_time(), state)
        except psutil.Error:
            return None

    def _spawn(self, spec: ProcessSpec) -> tuple[Owned, subprocess.Popen[bytes]]:
        token = secrets.token_hex(16)
        port = next(iter(spec.ports.values()), None)
        record = {"token": token, "port": port, "stop_within": spec.stop_within, "command": list(spec.command)}
        write_json(self._record(spec.name), record, 0o600)
        log = self._home.log(spec.name)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(
                    list(spec.command),
                    env={**os.environ, **spec.environment, identity.OWNER: token},
                    cwd=spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self._record(spec.name).unlink(missing_ok=True)
            raise StackError(f"{spec.name}: cannot run {spec.command[0]} ({error.strerror})") from None
        # Reaps the child the moment it ends, as long as we live; afterwards init does.
        threading.Thread(target=child.wait, name=f"reap-{spec.name}", daemon=True).start()
        who = identity.identify(child.pid)
        if who is None:
            raise StackError(f"{spec.name} ended at once; {tail(log)}")
        write_json(self._record(spec.name), {**record, "pid": who.pid, "started": who.started, "boot": who.boot}, 0o600)
        return Owned(spec.name, who, token, port, spec.stop_within), child

    def _stop_orphans(self, name: str) -> None:
        """End what a dead leader left behind (a JVM below a killed driver) before its successor starts."""
        owned = self._read(name)
        if owned is not None:
            self._kill_group(owned)

    def _signal(self, name: str, signum: signal.Signals) -> bool:
        owned = self.find(name)
        return owned is not None and identity.send_group(owned.identity, owned.token, signum) > 0

    def _kill_group(self, owned: Owned) -> None:
        identity.send_group(owned.identity, owned.token, signal.SIGKILL)
        if not self._wait_gone(owned, 10.0, leader_only=False):
            raise StackError(f"{owned.name}: pid {owned.pid} does not end after SIGKILL; it waits for the disk or the kernel")

    @staticmethod
    def _wait_gone(owned: Owned, seconds: float, *, leader_only: bool) -> bool:
        deadline = time.monotonic() + seconds
        gone: Callable[[], bool] = (
            (lambda: not identity.alive(owned.identity)) if leader_only else (lambda: not identity.members(owned.identity, owned.token))
        )
        while not gone():
            if time.monotonic() > deadline:
                return False
            threading.Event().wait(0.02)
        return True

    def _read(self, name: str) -> Owned | None:
        record = read_json(self._record(name))
        if record is None:
            return None
        token = str(record.get("token", ""))
        if "pid" in record:
            who = Identity(int(record["pid"]), int(record["started"]), str(record["boot"]))
        else:
            # The starter died between the two writes of the record: the token finds the process, if it came to be.
            found = identity.carrying(token)
            if not found:
                return None
            who = found[0]
        return Owned(name, who, token, record.get("port"), float(record.get("stop_within", 20.0)))

    def _record(self, name: str) -> Path:
        return self._home.folder("run") / f"{name}.json"
