"""What the relay's tests share: payments, a relay of its own process, and what a read_committed consumer sees."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from pymongo import MongoClient

from tests.integration.collection.processes import OwnMongod
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PAID = datetime(2026, 3, 4, 5, 6, 7, 891000, tzinfo=UTC)
PAID_MS = 1772600767891
"""PAID by hand: 20516 days and 05:06:07.891."""


def payment(number: int, **changes: Any) -> dict[str, Any]:
    """A payment as the collection tier writes it."""
    made: dict[str, Any] = {
        "_id": f"p{number:06d}",
        "merchantId": f"m{number % 7}",
        "user": {
            "id": f"raw-user-{number}",
            "key": f"{number:022d}",
            "birthYear": 1980,
            "gender": "female",
            "country": "US",
            "grade": "gold",
            "device": {"type": "mobile", "os": "android"},
        },
        "amount": 100 + number,
        "currency": "USD",
        "method": "card",
        "points": {"used": 1, "earned": 2},
        "status": "succeeded",
        "paidAt": PAID + timedelta(seconds=number),
        "refunds": [],
        "createdAt": PAID,
        "updatedAt": PAID,
        "schemaVersion": 1,
    }
    return {**made, **changes}


def millrace(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `millrace` command to its end."""
    command = [sys.executable, "-m", "millrace", *arguments]
    return subprocess.run(command, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, check=False, timeout=120)


def answered(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of few seconds' patience: again while a server does not answer it (3).

    So it is for a while after a relay was killed: the transaction that it left open hides the progress until the broker ends it.
    """
    done = [millrace(environ, *arguments)]
    wait_until(lambda: done[-1].returncode != 3 or done.append(millrace(environ, *arguments)), 180, f"an answer of {arguments}")
    return done[-1]


def status(environ: dict[str, str]) -> dict[str, Any]:
    """`millrace relay status`."""
    answer: dict[str, Any] = json.loads(answered(environ, "relay", "status", "--json").stdout)
    return answer


class RelayProcess:
    """`millrace relay run` as a process; ``log`` is its standard error."""

    def __init__(self, environ: dict[str, str], folder: Path, *options: str) -> None:
        self._environ = {"PATH": os.environ["PATH"], "MILLRACE_HOME": str(folder / "home"), **environ}
        self.ops = f"http://127.0.0.1:{free_port()}"
        self._command = [sys.executable, "-m", "millrace", "relay", "run", "--ops-port", self.ops.rsplit(":", 1)[1], *options]
        self._log = folder / f"relay-{os.urandom(4).hex()}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RelayProcess:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environ, stderr=log, stdout=log)
        return self

    def wait_ready(self, seconds: float = 180) -> RelayProcess:
        wait_until(self.ready, seconds, f"the relay is ready: {self.log}")
        return self

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self._get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def state(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._get("/ready").json()
        return answer

    def wait_streaming(self) -> RelayProcess:
        """Ready is a relay in its snapshot too; one whose streams all stream has committed the position where they began."""
        wait_until(lambda: all(each["phase"] == "streaming" for each in self._streams()), 180, f"every stream streams: {self.log}")
        return self

    def _streams(self) -> list[dict[str, Any]]:
        state = self.state()
        return list(state["streams"].values()) if "streams" in state else [state]

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.ops}{path}", timeout=60)

    def metric(self, name: str) -> float:
        lines = self._get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"millrace_relay_{name}{{"))

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """kill -9 of the process and its workers, as when a machine dies; reaps it."""
        self._signal(self._family(), signal.SIGKILL)
        self.process.wait()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """The process and its workers stand still, as a machine does whose host has no time for it.

        Then the workers come to first, and find that others have their streams before the process hears that it lost the leases.
        """
        family = self._family()
        self._signal(family, signal.SIGSTOP)
        try:
            yield
            workers = [psutil.Process(pid) for pid in family[1:]]
            self._signal(family[1:], signal.SIGCONT)
            wait_until(lambda: all(each.status() == psutil.STATUS_ZOMBIE for each in workers), 120, f"the workers end: {self.log}")
        finally:
            self._signal(family, signal.SIGCONT)

    def _family(self) -> list[int]:
        return [self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))]

    @staticmethod
    def _signal(family: list[int], number: signal.Signals) -> None:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(180)

    def __enter__(self) -> RelayProcess:
        return self.start().wait_ready()

    def __exit__(self, *exc: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


class Topic:
    """Reads a topic from its beginning, committed messages only, and remembers where it stopped."""

    def __init__(self, bootstrap: str, name: str) -> None:
        config = {"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer({**config, "auto.offset.reset": "earliest", "log_level": 0})
        self.name = name
        partitions = self._consumer.list_topics(name, timeout=60).topics[name].partitions
        self.partitions = len(partitions)
        self._consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in partitions])
        self.messages: list[Message] = []

    def poll(self) -> None:
        """Take what is there."""
        found = self._consumer.consume(5000, 0.2)
        assert not [message.error() for message in found if message.error()]
        self.messages.extend(found)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The values of messages with a key, in order within each partition."""
        return [json.loads(message.value() or b"") for message in self.messages if message.key()]

    @property
    def count(self) -> int:
        """How many events there are."""
        return sum(message.key() is not None for message in self.messages)

    @property
    def markers(self) -> dict[int, list[dict[str, Any]]]:
        """The low-water markers of each partition."""
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for message in self.messages:
            if message.key() is None:
                found[message.partition() or 0].append(json.loads(message.value() or b""))
        return found

    def wait_events(self, count: int, seconds: float = 180) -> list[dict[str, Any]]:
        """Wait for so many events; more of them fail."""

        def enough() -> bool:
            self.poll()
            return self.count >= count

        wait_until(enough, seconds, f"{count} events in the topic")
        self.poll()
        events = self.events
        assert len(events) == count
        return events

    def close(self) -> None:
        self._consumer.close()


class SmallOplog(OwnMongod):
    """A mongod of a test's own whose oplog holds little, so that it rolls over."""

    # Truncation waits for checkpoints: one a second.
    OPTIONS = ("--oplogSize", "16", "--syncdelay", "1", "--setParameter", "minSnapshotHistoryWindowInSeconds=5")

    def roll_over(self, client: MongoClient[dict[str, Any]]) -> None:
        """Write until the oldest entry is newer than all that is there now."""
        oplog = client.local["oplog.rs"]
        newest = oplog.find_one(sort=[("$natural", -1)])
        assert newest is not None

        def rolled() -> bool:
            for _ in range(4):
                client.rolling.filler.insert_many([{"text": "x" * 200_000} for _ in range(10)])
            client.rolling.filler.drop()
            client.admin.command("fsync")
            oldest = oplog.find_one(sort=[("$natural", 1)])
            return oldest is not None and oldest["ts"] > newest["ts"]

        wait_until(rolled, 300, "the oplog rolls over")
