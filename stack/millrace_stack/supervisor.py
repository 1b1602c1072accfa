"""All servers of one home: up, down, and what tests do to them."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from millrace_stack import ports
from millrace_stack.artefacts.resolve import resolve
from millrace_stack.errors import PrerequisiteMissing, StackError
from millrace_stack.home import Home
from millrace_stack.identity import alive
from millrace_stack.java import find_java
from millrace_stack.processes import Owned, Processes
from millrace_stack.readiness import Cancelled, wait_until_ready
from millrace_stack.servers import ALL, Context
from millrace_stack.settings import StackSettings

CUSTOMER_SECRET = "MILLRACE_COLLECTION_CUSTOMER_SECRET"  # noqa: S105 - the name of a setting
SPARK_JARS = "MILLRACE_SPARK_JARS"
_WIPED = ("data", "lake", "checkpoints", "demo", "logs")
"""Folders of a home that belong together: a checkpoint without its topics would be worse than none."""
_MEGABYTES_NEEDED = 1024
"""What the servers' logs and journals take at once."""


@dataclass(frozen=True)
class Health:
    """One line of ``millrace stack status``: a server, or a tier that was started with the same process helper."""

    name: str
    state: str
    """healthy, running (a tier), starting or hanging, paused, or down."""
    pid: int | None = None
    port: int | None = None
    rss_bytes: int | None = None
    uptime_seconds: float | None = None

    def json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


class Stack:
    """The servers of a home. ``report`` is given lines for a person."""

    def __init__(self, home: Home, settings: StackSettings, report: Callable[[str], None]) -> None:
        self.home = home
        self._settings = settings
        self._report = report
        self._cancelled = threading.Event()
        self.processes = Processes(home, self._cancelled)

    def up(self, only: Iterable[str] = ()) -> dict[str, str]:
        """Start what does not run, with what it needs, side by side; the settings that its clients need.

        A failure, or a KeyboardInterrupt, stops what this call started.

        Raises:
            StackError: a server did not come up, or an artefact could not be resolved.
        """
        names = _closure(only or ALL)
        with self.home.lock(
            "up", lambda pid: self._report(f"another `millrace stack` (pid {pid}) is at work in {self.home.path}; waiting")
        ):
            context = self._context(names)
            before = {name for name in names if self.processes.find(name)}
            try:
                self._start(names, context)
            except BaseException:
                self._stop([name for name in names if name not in before])
                raise
            endpoints = self._endpoints(names, context)
            self.home.publish(endpoints)
        return {**endpoints, **context.secrets}

    def down(self, only: Iterable[str] = ()) -> list[str]:
        """Stop everything of this home, our tiers before the servers; the names of what ran."""
        named = list(only)
        with self.home.lock(
            "up", lambda pid: self._report(f"another `millrace stack` (pid {pid}) is at work in {self.home.path}; waiting")
        ):
            tiers = [name for name in self.processes.names() if name not in ALL and (not named or name in named)]
            stopped = [name for name in tiers if self.processes.stop(name)]
            return stopped + self._stop([name for name in ALL if not named or name in named])

    def restart(self, name: str) -> None:
        """Stop one server and start it again at its old address."""
        self.down([name])
        self.up([name])

    def wipe(self) -> None:
        """Stop everything and remove what was stored; addresses, passwords and the cache of artefacts stay."""
        self.down()
        with self.home.lock("up"):
            for folder in _WIPED:
                shutil.rmtree(self.home.path / folder, ignore_errors=True)

    def status(self) -> list[Health]:
        """Every server, and every other process of this home."""
        others = [name for name in self.processes.names() if name not in ALL]
        with ThreadPoolExecutor(max_workers=len(ALL)) as pool:
            return list(pool.map(self._health, [*ALL, *others]))

    def _health(self, name: str) -> Health:
        status = self.processes.status(name)
        if status is None:
            return Health(name, "down")
        state = status.state
        if name in ALL and state == "running":
            state = "healthy" if self._answers(name) else "starting or hanging"
        return Health(name, state, status.pid, status.port, status.rss_bytes, round(status.uptime_seconds, 1))

    def _answers(self, name: str) -> bool:
        server = ALL[name]
        context = Context(self.home, self._settings, ports.assign(self.home, server.ports, {}), self.home.settings(), {})
        try:
            return server.healthy(context)()
        except Exception:  # every driver has its own way to say "no"
            return False

    def _context(self, names: list[str]) -> Context:
        self._require_space()
        every_port = [port for server in ALL.values() for port in server.ports]
        chosen = self._settings.chosen_ports()
        assigned = ports.assign(self.home, every_port, chosen)
        known = self.home.settings()
        made = {CUSTOMER_SECRET: known.get(CUSTOMER_SECRET) or secrets.token_hex(32)}
        for server in ALL.values():
            made |= server.new_secrets(assigned, known)
        self.home.publish({}, made)
        sets = {each for name in names for each in ALL[name].sets}
        artefacts = resolve(sorted(sets), self._settings.cache_path(), self._report)
        java = str(find_java(os.environ)) if any(name in ("kafka", "connect", "cassandra") for name in names) else "java"
        return Context(self.home, self._settings, assigned, made, artefacts, java)

    def _require_space(self) -> None:
        free = shutil.disk_usage(self.home.folder()).free // 2**20
        if free < _MEGABYTES_NEEDED:
            needed = f"{_MEGABYTES_NEEDED} MB are needed: free some, or put the home elsewhere with MILLRACE_HOME"
            raise PrerequisiteMissing(f"{self.home.path} has {free} MB of disk left and {needed}")

    def _start(self, names: list[str], context: Context) -> None:
        self._cancelled.clear()
        started: dict[str, Future[Owned]] = {}
        with ThreadPoolExecutor(max_workers=len(names), thread_name_prefix="start") as pool:
            try:
                for name in names:
                    started[name] = pool.submit(self._start_one, name, context, [started[need] for need in ALL[name].needs])
                done, _ = wait(started.values(), return_when=FIRST_EXCEPTION)
                failed = [error for future in done if (error := future.exception())]
                if failed:
                    # What failed first is the cause; the others were cancelled because of it.
                    raise next((error for error in failed if not isinstance(error, Cancelled)), failed[0])
            finally:
                self._cancelled.set()
        self._cancelled.clear()

    def _start_one(self, name: str, context: Context, needs: list[Future[Owned]]) -> Owned:
        wait(needs)
        if any(future.exception() for future in needs):
            raise Cancelled(f"{name}: what it needs did not start")
        server = ALL[name]
        running = self.processes.find(name) is not None
        owned = self.processes.start(server.spec(context))
        server.prepare(context)
        log = self.home.log(name)
        wait_until_ready(name, server.healthy(context), partial(alive, owned.identity), self._settings.start_within, log, self._cancelled)
        self._report(f"{name} {'runs already' if running else 'is ready'} (pid {owned.pid}, port {owned.port})")
        return owned

    def _endpoints(self, names: list[str], context: Context) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in names:
            found |= ALL[name].endpoints(context)
        if set(names) == set(ALL):
            found |= spark_jars(self._settings, self._report)
        return found

    def _stop(self, names: list[str]) -> list[str]:
        """Those that need others first, the rest side by side; one that does not end keeps no other running.

        Raises:
            StackError: of the first that does not end, once all have been told to.
        """
        failed: list[StackError] = []

        def stop(name: str) -> bool:
            try:
                return self.processes.stop(name)
            except StackError as error:
                failed.append(error)
                return False

        dependent = [name for name in names if ALL[name].needs]
        stopped = [name for name in dependent if stop(name)]
        rest = [name for name in names if name not in dependent]
        if rest:
            with ThreadPoolExecutor(max_workers=len(rest)) as pool:
                stopped += [name for name, ran in zip(rest, pool.map(stop, rest), strict=True) if ran]
        if failed:
            raise failed[0]
        return stopped


def spark_jars(settings: StackSettings, report: Callable[[str], None]) -> dict[str, str]:
    """The setting that names the folder of Spark's extra jars."""
    return {SPARK_JARS: str(resolve(["spark"], settings.cache_path(), report)["spark"])}


def home_of(environ: Mapping[str, str]) -> Home:
    """The home that the command was given."""
    return Home(Path(environ["MILLRACE_HOME"]).resolve())


def _closure(only: Iterable[str]) -> list[str]:
    """The named servers and what they need, in starting order.

    Raises:
        StackError: there is no such server.
    """
    wanted = list(only)
    for name in wanted:
        if name not in ALL:
            raise StackError(f"there is no server {name!r}; choose from {', '.join(ALL)}")
        wanted += [need for need in ALL[name].needs if need not in wanted]
    return [name for name in ALL if name in wanted]
