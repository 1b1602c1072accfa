"""Real processes for the tests: a mongod to kill, and `millrace collection run`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from millrace_contracts.identity import SCOPES
from tests.support.ports import free_port, listening_ports
from tests.support.waiting import wait_until

ROLES = ("collection", "relay", "debezium", "truth")
DEADLINE_SECONDS = 120.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll with a deadline."""
    wait_until(condition, DEADLINE_SECONDS, what)


def program_listening_on(port: int) -> str:
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "mongod" and port in listening_ports(process):
            return process.exe()
    raise AssertionError(f"no mongod listens on {port}")


class OwnMongod:
    """mongod with authentication on a port and folder of its own; kill() is SIGKILL."""

    OPTIONS: tuple[str, ...] = ()
    """More options of mongod."""

    def __init__(self, shared_uri: str, folder: Path) -> None:
        self._program = program_listening_on(urlsplit(shared_uri).port or 27017)
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        users = {"admin": "admin", **{role: f"own_{role}" for role in ROLES}}
        rest = f"127.0.0.1:{self._port}/?authSource=admin&replicaSet=rs0"
        uris = {f"MILLRACE_MONGO_{role.upper()}_URI": f"mongodb://{user}:{user}-pw@{rest}" for role, user in users.items()}
        self.environ = {**uris, "MILLRACE_NAMES_DATABASE": "own"}

    def __enter__(self) -> OwnMongod:
        (self._folder / "data").mkdir(parents=True)
        key = self._folder / "key"
        key.write_text("k" * 64)
        key.chmod(0o600)
        self.start()
        with MongoClient(f"mongodb://127.0.0.1:{self._port}/?directConnection=true") as client:
            member = {"_id": 0, "host": f"127.0.0.1:{self._port}"}
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            until(lambda: client.admin.command("hello")["isWritablePrimary"], "a primary")
            client.admin.command("createUser", "admin", pwd="admin-pw", roles=["root"])
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, or start again on the same data, and wait until it answers."""
        options = ["--port", str(self._port), "--bind_ip", "127.0.0.1", "--replSet", "rs0", "--auth", "--wiredTigerCacheSizeGB", "0.25"]
        options += ["--setParameter", "periodicNoopIntervalSecs=1"]  # as the shared one: an idle server tells how far its time has come
        files = ["--dbpath", "data", "--keyFile", "key", "--logpath", "log", "--logappend"]
        self._process = subprocess.Popen([self._program, *options, *files, *self.OPTIONS], cwd=self._folder, stdout=subprocess.DEVNULL)
        until(self._answers, "mongod answers")

    def kill(self) -> None:
        """kill -9 and reap."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. kill() still works."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with MongoClient(f"mongodb://127.0.0.1:{self._port}/?directConnection=true", serverSelectionTimeoutMS=500) as client:
                client.admin.command("ping")
        except OperationFailure:
            return True
        except PyMongoError:
            return False
        return True


class CollectionProcess:
    """`millrace collection run` on a free port with a key that has every scope; ``log_path`` holds its standard error."""

    def __init__(self, environ: dict[str, str], folder: Path, *options: str) -> None:
        self._environ = {"PATH": os.environ["PATH"], "MILLRACE_HOME": str(folder / "home"), **environ}
        self._options = options
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log_path = folder / "collection.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.headers = {"Authorization": f"Bearer {self.make_key()}", "Content-Type": "application/json"}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `millrace collection …` to its end."""
        command = [sys.executable, "-m", "millrace", "collection", *arguments]
        return subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)

    def make_key(self, *scopes: str, options: Sequence[str] = ()) -> str:
        """A new API key with these scopes, or all."""
        named = [part for scope in scopes or SCOPES for part in ("--scope", scope)]
        made = self.command("keys", "create", "--name", "test", "--json", *named, *options)
        assert made.returncode == 0, made.stderr
        return str(json.loads(made.stdout)["key"])

    def __enter__(self) -> CollectionProcess:
        port = str(urlsplit(self.url).port)
        command = [sys.executable, "-m", "millrace", "collection", "run", "--port", port, *self._options]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(command, env=self._environ, stderr=log)
        until(self._serves, "the collection API answers")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """SIGTERM or another signal; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(DEADLINE_SECONDS)

    def workers(self) -> list[psutil.Process]:
        """The serving processes."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children()

    def kill(self) -> None:
        """kill -9 of the command; its workers must follow by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self._says("ready")

    def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log_path.read_text()
        return self._says("health")

    def _says(self, path: str) -> bool:
        try:
            return httpx.get(f"{self.url}/{path}").status_code == 200
        except httpx.TransportError:
            return False
