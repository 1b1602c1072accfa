"""Real servers for a test run: each started when the first test asks for it, all stopped at its end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from millrace_stack.home import Home
from millrace_stack.identity import Identity, alive, identify
from millrace_stack.processes import Processes
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Stack, spark_jars

_SIZES = {
    "MILLRACE_STACK_MONGO_CACHE_MB": "256",
    "MILLRACE_STACK_MONGO_OPLOG_MB": "1024",
    "MILLRACE_STACK_KAFKA_HEAP_MB": "512",
    "MILLRACE_STACK_CASSANDRA_HEAP_MB": "768",
}
_OWNER = "owner.json"


class Servers:
    """The servers that the tests of one run share, and what a chaos test does to them."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._settings = StackSettings.load({**_SIZES, **os.environ})
        self._stack = Stack(home, self._settings, lambda line: None)
        self.processes = Processes(home)

    def use(self, name: str) -> dict[str, str]:
        """Start a server, with what it needs, unless it runs; the settings of its clients (its own and those of what it needs)."""
        published = self._stack.up([name])
        return {**published, "MILLRACE_HOME": str(self.home.path)}

    def spark_jars(self) -> dict[str, str]:
        """The folder of Spark's extra jars."""
        return spark_jars(self._settings, lambda line: None)

    def kill(self, name: str) -> None:
        """kill -9."""
        assert self.processes.kill(name), f"{name} does not run"

    def pause(self, name: str) -> None:
        """SIGSTOP: it hangs, its connections stay open."""
        assert self.processes.pause(name), f"{name} does not run"

    def resume(self, name: str) -> None:
        """SIGCONT."""
        assert self.processes.resume(name), f"{name} does not run"

    def restart(self, name: str) -> None:
        """Start it again at its address, after a kill or with a clean stop."""
        self._stack.restart(name)

    def stop(self) -> None:
        """Stop all of them."""
        self._stack.down()


def open_home() -> Home:
    """A home for this run; what a killed run left behind is stopped and removed first."""
    root = Path(tempfile.gettempdir()) / f"millrace-tests-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    for left in root.iterdir():
        _sweep(left)
    folder = root / str(os.getpid())
    folder.mkdir()
    ours = identify(os.getpid())
    assert ours
    (folder / _OWNER).write_text(json.dumps(asdict(ours)))
    return Home(folder)


def close_home(home: Home, *, keep_logs: bool) -> None:
    """Remove the home; after a failure the logs stay until the next run."""
    if keep_logs:
        shutil.rmtree(home.path / "data", ignore_errors=True)
    else:
        shutil.rmtree(home.path, ignore_errors=True)


def unique_names() -> dict[str, str]:
    """Names of a test's own on shared servers."""
    own = f"t{secrets.token_hex(6)}"
    return {f"MILLRACE_NAMES_{name}": own for name in ("DATABASE", "TOPIC_PREFIX", "KEYSPACE", "REDIS_PREFIX", "LAKE_NAMESPACE")}


def _sweep(folder: Path) -> None:
    try:
        owner = Identity(**json.loads((folder / _OWNER).read_text()))
    except (OSError, ValueError, TypeError):
        return
    if alive(owner):
        return
    processes = Processes(Home(folder))
    for name in processes.names():
        processes.stop(name, within=5.0)
    shutil.rmtree(folder, ignore_errors=True)
