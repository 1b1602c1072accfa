"""`millrace query serve` and its callers as they are run: two tenants, formats, a stop, kill -9 and what is left after it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_graphql.token_cli import make_token
from millrace_processors import tables
from millrace_processors.progress import LowWater, ProgressTable
from millrace_processors.query.jobs import JobStore, State
from millrace_processors.settings import Config
from tests.integration.processors_query.conftest import Filled, append
from tests.support.servers import unique_names
from tests.support.waiting import wait_until
from tests.unit.processors_query.history import facts, newest

pytestmark = pytest.mark.stack
START, END = "2026-10-31", "2026-11-14"
LONG = "SELECT sum(p0.amount * p4.amount) FROM payments p0 " + " ".join(
    f"JOIN payments p{n} ON p{n}.amount + p0.amount >= 0" for n in range(1, 5)
)


class Running:
    """A running service and its callers."""

    def __init__(self, environ: Mapping[str, str], process: subprocess.Popen[str], url: str) -> None:
        self.environ, self.process, self.url = environ, process, url

    def token(self, *merchants: str, role: Any = "merchant") -> str:
        return make_token(Path(self.environ["MILLRACE_HOME"]) / "keys", role, list(merchants), 3_600)

    def command(self, token: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        """`millrace query …` as a caller runs it."""
        known = {"MILLRACE_QUERY_URL": self.url, "MILLRACE_QUERY_TOKEN": token, "MILLRACE_HOME": self.environ["MILLRACE_HOME"]}
        words = [sys.executable, "-m", "millrace", "query", *arguments]
        done = subprocess.run(words, env={**os.environ, **known}, capture_output=True, timeout=400, check=False)
        assert done.returncode == code, (done.returncode, done.stdout[-2_000:], done.stderr[-2_000:])
        return done

    def run(self, token: str, sql: str, *options: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        return self.command(token, "run", sql, "--start", START, "--end", END, *options, code=code)

    def rows(self, token: str, sql: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(token, sql, "--format", "json").stdout.splitlines()]

    def spark(self) -> list[psutil.Process]:
        """The JVMs below the service."""
        return [each for each in psutil.Process(self.process.pid).children(recursive=True) if "java" in each.name()]


@contextmanager
def serving(
    environ: Mapping[str, str], log: Path, command: Sequence[str] = ("millrace", "query", "serve", "--port", "0")
) -> Iterator[Running]:
    with (
        log.open("a+") as written,
        subprocess.Popen(
            [sys.executable, "-m", *command], env={**os.environ, **environ}, stdout=written, stderr=written, text=True
        ) as process,
    ):
        try:
            wait_until(lambda: '"serving"' in log.read_text(), 120, "the service says where it listens")
            lines = [line for line in log.read_text().splitlines() if '"serving"' in line]
            url = json.loads(lines[-1])["url"]
            wait_until(lambda: _ready(url), 400, "the service is ready")
            yield Running(environ, process, url)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(100)
                except subprocess.TimeoutExpired:
                    process.kill()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=60).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def environ(filled: Filled, cassandra_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home of its own, and a stream's progress in Cassandra."""
    keyspace = unique_names()["MILLRACE_NAMES_KEYSPACE"]
    made = {
        **cassandra_server,
        **filled.environ,
        "MILLRACE_NAMES_KEYSPACE": keyspace,
        "MILLRACE_HOME": str(tmp_path_factory.mktemp("home")),
    }
    made |= {
        "MILLRACE_QUERY_MAX_QUEUED_PER_TENANT": "2",
        "MILLRACE_QUERY_MAX_RESULT_BYTES": "1000000",
        "MILLRACE_QUERY_MAX_ROWS_READ": "10000",
        "MILLRACE_QUERY_PENALTY_SECONDS": "1",
        "MILLRACE_SPARK_DRIVER_MEMORY": "700m",
    }
    config = Config.load(made)
    tables.declare_store(config)
    ProgressTable(tables.connected(config), keyspace).save(PROGRESS_PAYMENTS, 1, 1, LowWater(1, 1_795_000_000_000))
    return made


@pytest.fixture(scope="module")
def service(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(environ, tmp_path_factory.mktemp("query") / "serve.log") as running:
        yield running


def test_two_tenants_ask_the_same_and_each_sees_its_own(service: Running, filled: Filled) -> None:
    sql = "SELECT merchant_id, kind, sum(amount) AS total FROM payments GROUP BY 1, 2"
    for merchants in (("m1",), ("m2", "m3")):
        expected: dict[tuple[str, str], int] = {}
        for fact in newest(filled.rows, set(merchants)):
            expected[fact["merchant_id"], fact["kind"]] = expected.get((fact["merchant_id"], fact["kind"]), 0) + fact["amount"]
        found = service.rows(service.token(*merchants), sql)
        assert {(row["merchant_id"], row["kind"]): int(row["total"]) for row in found} == expected


def test_every_format_holds_the_same_rows_and_the_command_says_what_they_are(service: Running) -> None:
    token = service.token("m1")
    sql = "SELECT payment_id, amount, occurred_at FROM payments ORDER BY payment_id LIMIT 3"
    job = service.run(token, sql, "--no-wait").stdout.decode().strip()
    said = service.command(token, "result", job, "--format", "json")
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert len(rows) == 3
    with pa.ipc.open_stream(io.BytesIO(service.command(token, "result", job, "--format", "arrow").stdout)) as stream:
        assert [str(row["amount"]) for row in stream.read_all().to_pylist()] == [row["amount"] for row in rows]
    lines = service.command(token, "result", job, "--format", "csv").stdout.decode().splitlines()
    assert lines == ["payment_id,amount,occurred_at", *(f"{row['payment_id']},{row['amount']},{row['occurred_at']}" for row in rows)]
    table = service.command(token, "result", job).stdout.decode()
    assert all(row["payment_id"] in table for row in rows)
    words = "3 rows, windows from 2026-10-31T00:00Z to 2026-11-14T00:00Z, complete through 2026-11-18T11:06:40.000Z"
    assert said.stderr.decode().strip() == words
    assert job in service.command(token, "status").stdout.decode()


def test_values_that_python_cannot_hold_and_texts_with_quotes_are_printed(service: Running) -> None:
    values = "make_date(10000, 1, 1) AS d, make_date(-1, 1, 1) AS e, INTERVAL 3 MONTHS AS m, 'O''Brien' AS o"
    found = service.rows(service.token("m1"), f"SELECT {values} FROM payments LIMIT 1")
    assert found == [{"d": "+10000-01-01", "e": "-0001-01-01", "m": "INTERVAL '3' MONTH", "o": "O'Brien"}]


def test_the_command_tells_a_refusal_a_missing_token_and_an_absent_service(service: Running) -> None:
    token = service.token("m1")
    refused = service.run(token, "SELECT java_method('a') FROM payments", code=2)
    assert b"java_method() at line 1, column 8" in refused.stderr
    other = service.run(token, "SELECT 1 FROM payments", "--merchant", "m2", code=2)
    assert b"does not open merchant 'm2'" in other.stderr
    assert b"--token" in service.command("", "views", code=2).stderr
    away = service.command(token, "views", "--url", "http://127.0.0.1:9", code=3)
    assert b"millrace query serve" in away.stderr
    failed = service.run(token, "SELECT amount, count(*) FROM payments", code=6)
    assert b"Traceback" not in failed.stderr
    assert b"payments:" in service.command(token, "views").stdout


def test_a_result_that_is_too_large_fails_with_the_fix_and_the_service_goes_on(service: Running) -> None:
    token = service.token("m1", "m2", "m3")
    pairs = "SELECT a.customer, b.customer, a.payment_id AS p, b.payment_id AS q FROM payments a JOIN payments b ON a.kind = b.kind"
    failed = service.run(token, pairs, code=6)
    assert b"the result is larger than 1,000,000 bytes" in failed.stderr
    found = service.rows(token, f"{pairs} LIMIT 5")
    assert len(found) == 5


def test_a_job_is_told_alike_with_and_without_others_rows_in_the_files(service: Running, filled: Filled, spark: SparkSession) -> None:
    """I9: of a merchant without any row, and of one whose own are within the limit; the others' alone are beyond it."""
    crowd, nobody = _beside_m1(filled, spark)
    reads = "SELECT count(*) AS n FROM payments p0 " + " ".join(
        f"JOIN payments p{n} ON p{n}.payment_id = p0.payment_id" for n in range(1, 5)
    )
    asked = [(service.token(merchant), sql) for merchant in (nobody, "m1") for sql in ("SELECT count(*) AS n FROM payments", reads)]
    without = [_told(service, token, sql) for token, sql in asked]
    append(spark, filled.lake, facts(9, crowd, 3_000))
    try:
        assert [_told(service, token, sql) for token, sql in asked] == without
        refused = service.run(service.token(*crowd), reads, code=6)
        assert b"more than 10,000 rows" in refused.stderr
    finally:
        spark.sql(f"DELETE FROM {filled.lake.facts} WHERE merchant_id IN ({', '.join(map(repr, crowd))})")
    assert {job["state"] for job, _ in without} == {"done"}


def _beside_m1(filled: Filled, spark: SparkSession) -> tuple[list[str], str]:
    """Merchants whose rows share files with those of m1, and one without rows that would share them too."""
    buckets = Config.load(filled.environ).lake.buckets
    named = f"SELECT concat(char(97 + id % 26), id) AS name FROM range({buckets * 40})"
    same = f"lake.system.bucket({buckets}, name) = lake.system.bucket({buckets}, 'm1')"
    found = sorted(row[0] for row in spark.sql(f"SELECT name FROM ({named}) WHERE {same}").collect())
    nobody = found.pop(len(found) // 2)
    return found, nobody


def _told(service: Running, token: str, sql: str) -> tuple[dict[str, Any], bytes]:
    """All that a caller is told of a job but its id and instants, and its rows."""
    job = service.run(token, sql, "--no-wait").stdout.decode().strip()
    rows = service.command(token, "result", job, "--format", "csv").stdout
    found = next(each for each in _jobs(service, token) if each["id"] == job)
    # `asOf` is when the lake was last written, by whomever.
    return {name: value for name, value in found.items() if job not in str(value) and not name.endswith("At") and name != "asOf"}, rows


def test_metrics_and_health_are_on_the_same_port(service: Running) -> None:
    assert httpx.get(f"{service.url}/health", timeout=60).json() == {"status": "alive"}
    service.rows(service.token("m1"), "SELECT 1 AS one FROM merchants")
    assert 'millrace_query_jobs_total{state="done"}' in httpx.get(f"{service.url}/metrics", timeout=60).text


def test_ctrl_c_cancels_the_query_that_is_waited_for_and_the_service_goes_on_whether_spark_listens_or_not(service: Running) -> None:
    token, other = service.token("m1", "m2"), service.token("m3")
    words = [sys.executable, "-m", "millrace", "query", "run", LONG, "--start", START, "--end", END]
    known = {"MILLRACE_QUERY_URL": service.url, "MILLRACE_QUERY_TOKEN": token}
    with subprocess.Popen(words, env={**os.environ, **known}, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: _states(service, token)[:1] == ["running"], 300, "the query runs")
        # Long enough for its tasks to begin: in the loop of a join they do not listen, and the engine is replaced.
        begun = _worked(service)
        wait_until(lambda: _worked(service) > begun + 6, 300, "it has been worked on for six seconds of a core")
        beside = service.run(other, "SELECT count(*) AS n FROM merchants", "--no-wait").stdout.decode().strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(200) == 130
    assert _states(service, token)[0] == "canceled"
    # Whoever waited or ran beside it is answered without asking again, and so is the next.
    assert service.command(other, "result", beside, "--format", "csv").stdout == b"n\r\n0\r\n"
    wait_until(lambda: _counted(service, token), 400, "another query is answered")


def _worked(service: Running) -> float:
    """Seconds that Spark has used of the cores."""
    return sum(each.cpu_times().user for each in service.spark())


def _counted(service: Running, token: str) -> bool:
    """Whether a query is answered; one that a restart of the engine loses is not."""
    known = {"MILLRACE_QUERY_URL": service.url, "MILLRACE_QUERY_TOKEN": token}
    words = [sys.executable, "-m", "millrace", "query", "run", "SELECT sum(amount) FROM payments", "--start", START, "--end", END]
    return subprocess.run(words, env={**os.environ, **known}, capture_output=True, timeout=300, check=False).returncode == 0


def _states(service: Running, token: str) -> list[str]:
    return [job["state"] for job in _jobs(service, token)]


def _jobs(service: Running, token: str) -> list[dict[str, Any]]:
    """The caller's jobs, the newest first."""
    answer = httpx.get(f"{service.url}/v1/query/jobs", headers={"Authorization": f"Bearer {token}"}, timeout=60)
    found: list[dict[str, Any]] = answer.json()["jobs"]
    return found


def test_after_a_kill_or_a_stop_results_are_there_and_what_had_not_ended_is_lost(environ: dict[str, str], tmp_path: Path) -> None:
    home = {**environ, "MILLRACE_QUERY_RESULTS": str(tmp_path / "queries")}
    with serving(home, tmp_path / "first.log") as first:
        token = first.token("m1")
        done = first.run(token, "SELECT count(*) AS n FROM merchants", "--no-wait").stdout.decode().strip()
        first.command(token, "result", done)
        killed = [first.run(token, LONG, "--no-wait").stdout.decode().strip() for _ in range(2)]
        wait_until(lambda: "running" in _states(first, token), 300, "the long query runs")
        _end(first, signal.SIGKILL)
    with serving(home, tmp_path / "second.log") as second:
        states = {job["id"]: job["state"] for job in _jobs(second, token)}
        assert states == {done: "done"} | dict.fromkeys(killed, "lost")
        assert second.command(token, "result", done, "--format", "csv").stdout == b"n\r\n1\r\n"
        assert b"ask again" in second.command(token, "result", killed[0], code=6).stderr
        stopped = second.run(token, LONG, "--no-wait").stdout.decode().strip()
        wait_until(lambda: "running" in _states(second, token), 300, "the long query runs")
        assert _end(second, signal.SIGTERM) == 0
    left = JobStore(tmp_path / "queries").get(stopped)
    assert left is not None
    assert left.state is State.LOST


def _end(running: Running, how: signal.Signals) -> int:
    """Signal the service; its exit code, once neither its worker nor its Spark is left."""
    below = [running.process.pid, *(each.pid for each in psutil.Process(running.process.pid).children(recursive=True))]
    assert running.spark()
    running.process.send_signal(how)
    code = running.process.wait(200)
    wait_until(lambda: not any(map(_alive, below)), 100, "nothing of it is left")
    return code


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
