"""One replica of three is lost, by kill -9 or by SIGSTOP: reads and writes go on and are right; it costs speed, nothing else."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from millrace_contracts.reports import BREAKDOWNS, COUNTERS
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.windows import WINDOW_MS, to_ms
from millrace_graphql.token_cli import make_token
from millrace_processors import report_store
from millrace_processors.reports import Reports
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.support.cassandra_ring import Ring
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
Settings = dict[str, str]
START = datetime(2026, 11, 3, tzinfo=UTC)
MERCHANTS, READERS = 30, 4
SERIES = """query($m: ID!, $s: DateTime!, $e: DateTime!) {
  series(merchantId: $m, start: $s, end: $e, currency: "USD", sparse: true) { totals { gross } }
}"""
NO_CACHE = {"MILLRACE_API_RESPONSE_CACHE_BYTES": "0", "MILLRACE_API_CHUNK_MEMORY_BYTES": "0", "MILLRACE_API_CHUNK_CACHE": "false"}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    with Ring(tmp_path_factory.mktemp("ring")) as made:
        yield made


@pytest.fixture
def environ(ring: Ring, redis_server: Settings, tmp_path: Path) -> Settings:
    own = f"ring_{secrets.token_hex(6)}"
    names = {"MILLRACE_NAMES_KEYSPACE": own, "MILLRACE_NAMES_REDIS_PREFIX": own, "MILLRACE_HOME": str(tmp_path / "home")}
    return {**redis_server, **ring.environ, **names}


class Readers:
    """Clients that ask for one merchant after the other without a pause, and compare."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(number,)) for number in range(READERS)]
        self.answered = [0] * READERS
        self.wrong: list[str] = []

    def _read(self, number: int) -> None:
        with httpx.Client(base_url=self._url, headers={"Authorization": f"Bearer {self._token}"}, timeout=30) as client:
            for merchant in itertools.cycle(range(number, MERCHANTS)):
                if self._stop.is_set():
                    return
                variables = {"m": f"m{merchant}", "s": START.isoformat(), "e": (START + timedelta(days=1)).isoformat()}
                try:
                    body = client.post("/graphql", json={"query": SERIES, "variables": variables}).json()
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))
                    continue
                if body == {"data": {"series": {"totals": {"gross": str(100 * merchant + 6)}}}}:
                    self.answered[number] += 1
                else:
                    self.wrong.append(str(body)[:300])

    def each_is_answered(self, more: int) -> None:
        """Wait until every reader has so many more answers."""
        before = list(self.answered)
        enough = [count + more for count in before]
        wait_until(lambda: all(map(int.__ge__, self.answered, enough)), 60, f"{more} answers more than {before}; wrong: {self.wrong[:3]}")

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def test_a_lost_replica_costs_no_answer(ring: Ring, environ: Settings) -> None:
    store = Store(environ)
    for number in range(MERCHANTS):
        for window, amount in enumerate([100 * number, 1, 2, 3]):
            store.report(f"m{number}", START + timedelta(minutes=60 * window), "USD", Written([Paid(amount)]))
    store.progress(START + timedelta(days=2))
    store.close()
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], 600)
    with serving({**environ, **NO_CACHE}) as (url, _):
        wait_for(f"{url}/ready", 200)
        readers = Readers(url, token)
        with readers.running():
            readers.each_is_answered(20)
            ring.kill(0)  # the contact point, which holds the control connection too
            readers.each_is_answered(100)
            ring.restart(0)
            ring.wait_whole()
            time.sleep(12)  # the longest pause between two attempts of the driver to connect to it again
            ring.kill(1)
            readers.each_is_answered(100)
            ring.restart(1)
            ring.wait_whole()
            time.sleep(12)
            ring.pause(2)
            readers.each_is_answered(3)
            ring.resume(2)
            readers.each_is_answered(50)
        assert httpx.get(f"{url}/ready").status_code == 200
    assert readers.wrong == []


def reports(batch: int) -> Reports:
    """200 reports of 20 merchants whose gross tells them apart."""
    numbers = np.arange(batch * 200, (batch + 1) * 200, dtype=np.int64)
    return Reports(
        [f"w{number % 20}" for number in numbers],
        to_ms(START) + numbers * WINDOW_MS,
        ["USD"] * len(numbers),
        {name: numbers if name == "gross" else np.ones_like(numbers) for name in COUNTERS},
        {name: [bytes(4)] * len(numbers) for name in BREAKDOWNS},
        [b""] * len(numbers),
        [b""] * len(numbers),
        np.ones_like(numbers),
    )


def stored(environ: Settings, keyspace: str) -> list[tuple[int, str, datetime]]:
    """Amount, merchant and window of every report, read by partition; until a dead node is noticed a read may time out."""
    with report_store.connect(CassandraSettings.load(environ)).cluster as cluster:
        session = cluster.connect()
        read = session.prepare(f"SELECT gross, window_start FROM {keyspace}.reports WHERE merchant_id = ? AND grain = '10m' AND bucket = ?")
        found: list[tuple[int, str, datetime]] = []
        for merchant, month in itertools.product((f"w{number}" for number in range(20)), ("2026-11", "2026-12")):
            found += [(row.gross, merchant, row.window_start) for row in patiently(session, read, (merchant, month))]
        return sorted(found)


def patiently(session: Session, statement: PreparedStatement, arguments: tuple[str, ...]) -> list[Any]:
    deadline = time.monotonic() + 60
    while True:
        try:
            return list(session.execute(statement, arguments).all())
        except report_store.RETRIED:
            assert time.monotonic() < deadline


def test_reports_are_written_while_a_replica_is_away(ring: Ring, environ: Settings) -> None:
    store = Store(environ)
    target = report_store.Target(CassandraSettings.load(environ), store.keyspace, 32, 60.0, 7, to_ms(START))
    for batch in range(30):
        if batch == 5:
            ring.kill(2)
        if batch == 15:
            ring.restart(2)
            ring.wait_whole()
        if batch == 20:
            ring.kill(1)
        report_store.write(target, reports(batch))
    store.close()
    # With node 1 away a quorum of reads is nodes 0 and 2, and 2 has missed ten batches.
    assert stored(environ, store.keyspace) == [
        (number, f"w{number % 20}", (START + number * timedelta(minutes=10)).replace(tzinfo=None)) for number in range(6000)
    ]
    ring.restart(1)
    ring.wait_whole()
