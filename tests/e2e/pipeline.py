"""What end-to-end tests do with a running pipeline: write as its clients do, and read as its clients do."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from millrace_contracts.settings import NamesSettings
from millrace_stack.home import Home
from millrace_stack.load.client import CollectionClient
from millrace_stack.processes import Processes
from millrace_stack.truth.answers import Api
from millrace_stack.truth.cli import operator_token
from millrace_stack.truth.compare import wait_until_complete
from millrace_stack.truth.mongo import Figures, MongoTruth
from tests.support.waiting import wait_until

COMPLETE_WITHIN = 600.0
WINDOW = timedelta(minutes=10)


def until(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """Poll a condition with a deadline."""
    wait_until(condition, seconds, what)


class Running:
    """The pipeline of a home, as its users meet it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.settings = {**home.settings(), "MILLRACE_HOME": str(home.path)}
        self.names = NamesSettings.load(self.settings)
        self.processes = Processes(home)
        self.collection = CollectionClient(self.settings["MILLRACE_COLLECTION_URL"], self.settings["MILLRACE_COLLECTION_KEY"])
        self.api = Api(self.settings["MILLRACE_API_URL"], operator_token(self.settings))
        self.truth = MongoTruth(self.settings["MILLRACE_MONGO_TRUTH_URI"], self.names.database)
        self.mongo: MongoClient[dict[str, Any]] = MongoClient(self.settings["MILLRACE_MONGO_ADMIN_URI"], tz_aware=True)

    def close(self) -> None:
        """Close every connection."""
        self.collection.close()
        self.api.close()
        self.truth.close()
        self.mongo.close()

    def merchant(self, currency: str = "USD") -> str:
        """A merchant of the test's own."""
        name = f"e2e-{secrets.token_hex(4)}"
        self.collection.put(f"/v1/merchants/{name}", {"name": name, "currency": currency, "timeZone": "UTC"})
        return name

    def post(self, merchant: str, amount: int, at: datetime, **fields: Any) -> str:
        """Post one payment and return its id."""
        line = payment(merchant, amount, at, **fields)
        answer = self.collection.single(line).answers[0]
        assert answer.status == 201, answer
        return str(line["id"])

    def refund(self, payment_id: str, amount: int, at: datetime) -> None:
        """Refund a part of a payment."""
        line = {"op": "refund", "paymentId": payment_id, "id": secrets.token_hex(8), "amount": amount, "refundedAt": ms(at)}
        answer = self.collection.single(line).answers[0]
        assert answer.status == 201, answer

    def settle(self) -> None:
        """Wait until everything written so far is in the answers (I13)."""
        target = self.truth.last_write()
        through = wait_until_complete(self.api, target, COMPLETE_WITHIN, lambda _: None)
        assert through is not None
        assert through > target, f"complete through {through}, last write {target}"

    def window(self, merchant: str, at: datetime, currency: str = "USD") -> Figures:
        """What the API says of the window that holds an instant."""
        start = floor(at)
        return self.api.windows(merchant, currency, start, start + WINDOW).get(start, Figures())

    def total(self, merchant: str, currency: str = "USD") -> Figures:
        """What the API says of a merchant's last 300 days."""
        end = floor(datetime.now(UTC)) + WINDOW
        totals = self.api.totals(merchant, currency, end - timedelta(days=300), end)
        assert totals is not None
        return totals

    def records(self, topic: str) -> list[Message]:
        """Every record of a topic that is committed now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings["MILLRACE_KAFKA_BOOTSTRAP"],
                "group.id": secrets.token_hex(8),
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
            }
        )
        try:
            left = set(consumer.list_topics(topic, timeout=60).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in left])
            found: list[Message] = []
            deadline = time.monotonic() + 180
            while left:
                assert time.monotonic() < deadline, f"{topic} could not be read to its end"
                for message in consumer.consume(5_000, timeout=0.1):
                    error = message.error()
                    if error is None:
                        found.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        left.discard(message.partition())
            return found
        finally:
            consumer.close()


def payment(merchant: str, amount: int, at: datetime, **fields: Any) -> dict[str, Any]:
    """A bulk line."""
    made = {"op": "payment", "id": secrets.token_urlsafe(16), "merchantId": merchant, "amount": amount, "currency": "USD", "method": "card"}
    return {**made, "paidAt": ms(at), **fields}


def ms(at: datetime) -> int:
    """Epoch milliseconds."""
    return int(at.timestamp() * 1000)


def floor(at: datetime) -> datetime:
    """Start of the 10-minute window, by hand."""
    return at.replace(minute=at.minute // 10 * 10, second=0, microsecond=0)


def environment(home: Path) -> dict[str, str]:
    """The environment of a demo with a home of its own."""
    return {**{name: value for name, value in os.environ.items() if name != "MILLRACE_HOME"}, "COLUMNS": "200", "MILLRACE_HOME": str(home)}


class DemoProcess:
    """``millrace demo`` as a person starts it; ``output`` is what they see."""

    def __init__(self, home: Path, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "millrace", "demo", "--home", str(home), *arguments],
                env=environment(home),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(errors="replace")

    def await_output(self, text: str, seconds: float) -> None:
        """Wait until a text was printed; a demo that ends before fails at once."""

        def seen() -> bool:
            assert text in self.output or self.process.poll() is None, f"the demo ended:\n{self.output[-4000:]}"
            return text in self.output

        until(f"{text!r} in the output of the demo", seen, seconds)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> int:
        """Exit code."""
        return self.process.wait(seconds)


@contextmanager
def demo(home: Path, log: Path, *arguments: str) -> Iterator[DemoProcess]:
    """A demo that is stopped, however the test ends."""
    started = DemoProcess(home, log, *arguments)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.send_signal(signal.SIGCONT)
            started.interrupt()
            started.wait(300)


def processes_of(home: Path) -> list[str]:
    """Command lines of every living process whose environment or command names the home."""
    found = []
    for process in psutil.process_iter():
        try:
            named = str(home) in " ".join(process.cmdline()) or process.environ().get("MILLRACE_HOME") == str(home)
            if named and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:200])
        except psutil.Error:
            continue
    return found


def look_into(folders: Iterable[Path], look: Callable[[Path, bytes], None]) -> None:
    """Show every file of folders, whose processes go on writing: again where one vanished between its listing and its reading."""
    while True:
        try:
            for folder in folders:
                for path in folder.rglob("*"):
                    if path.is_file():
                        look(path, path.read_bytes())
            return
        except FileNotFoundError:
            continue


def truth_json(home: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """``millrace truth --json``: exit code and answer."""
    done = subprocess.run(
        [sys.executable, "-m", "millrace", "truth", "--json", *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def payments_in(home: Path) -> int:
    """How many payments MongoDB holds; 0 while it does not answer."""
    settings = Home(home).settings()
    try:
        with MongoClient[dict[str, Any]](settings["MILLRACE_MONGO_TRUTH_URI"], serverSelectionTimeoutMS=2_000) as client:
            return client[NamesSettings.load(settings).database]["payments"].estimated_document_count()
    except (KeyError, PyMongoError):
        return 0
