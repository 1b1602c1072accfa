"""Operating real connectors: states, offsets that make a stream go on elsewhere, a task that really fails, the HTTP endpoint."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.integration.cdc_connect.conftest import Record, Settings, run
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MERCHANT = {"name": "M", "currency": "EUR", "timeZone": "UTC", "status": "active", "createdAt": NOW, "updatedAt": NOW, "schemaVersion": 1}


@pytest.fixture(scope="module")
def applied(environ: Settings, database: Any, records: Callable[..., list[Record]]) -> Settings:
    database.merchants.insert_one({"_id": "early", **MERCHANT})
    assert run(environ, "apply").return_value == 0
    records("merchants", 1)  # the snapshot is over: what is written now is an event
    return environ


@pytest.fixture(scope="module")
def prefix(environ: Settings) -> str:
    return f"{environ['MILLRACE_NAMES_TOPIC_PREFIX']}.{environ['MILLRACE_NAMES_DATABASE']}"


def states(environ: Settings, *names: str) -> list[str]:
    return [row["state"] for row in json.loads(run(environ, "status", *names, "--json").output)["connectors"]]


def test_a_paused_connector_differs_from_its_file_until_apply_mends_it(applied: Settings) -> None:
    assert run(applied, "pause", "merchants").return_value == 0
    assert states(applied, "merchants") == ["PAUSED", "PAUSED"]
    assert run(applied, "status").return_value == 1
    plan = run(applied, "plan", "--json")
    assert plan.return_value == 1
    assert [change["detail"] for change in json.loads(plan.output)["changes"]] == ["is paused, declared running"]
    assert run(applied, "apply").return_value == 0
    assert states(applied, "merchants") == ["RUNNING", "RUNNING"]


def test_a_changed_file_is_applied_and_a_refused_one_changes_nothing(
    applied: Settings, tmp_path: Path, passwords: list[str], prefix: str
) -> None:
    folder = Path(__file__).parents[3] / "connect-config"
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text().replace('"poll.interval.ms": "50"', '"poll.interval.ms": "60"'))
    changed = {**applied, "MILLRACE_CONNECT_CONFIG_DIR": str(tmp_path)}
    done = run(changed, "apply", "--json")
    assert [(row["kind"], row["name"], row["detail"]) for row in json.loads(done.output)["applied"]] == [
        ("update", f"{prefix}.{name}", "poll.interval.ms is 50, declared 60") for name in ("merchants", "users")
    ]
    assert run(applied, "apply").return_value == 0
    merchants = tmp_path / "merchants.json"
    merchants.write_text(merchants.read_text().replace('"poll.interval.ms": "60"', '"poll.interval.ms": "soon"'))
    refused = run(changed, "apply")
    assert refused.return_value == 2
    assert "poll.interval.ms" in refused.output
    assert not [password for password in passwords if password in refused.output]
    assert run(applied, "plan").return_value == 0


def test_payments_run_through_debezium_only_when_asked_for(applied: Settings, database: Any, records: Callable[..., list[Record]]) -> None:
    database.payments.insert_one(
        {
            "_id": "p1", "merchantId": "m", "amount": 1250, "currency": "EUR", "method": "card", "points": {"used": 0, "earned": 1},
            "user": {"id": "RAW-ID", "key": "k" * 22, "device": {"type": "pos", "os": "HIDDEN-OS"}}, "status": "succeeded",
            "paidAt": NOW, "refunds": [], "createdAt": NOW, "updatedAt": NOW, "schemaVersion": 1,
        }
    )  # fmt: skip
    enabled = {**applied, "MILLRACE_CONNECT_ENABLE": "payments"}
    assert run(enabled, "apply").return_value == 0
    records("payments", 1)
    database.payments.update_one({"_id": "p1"}, {"$push": {"refunds": {"id": "r1", "amount": 250, "refundedAt": NOW}}})
    database.payments.delete_one({"_id": "p1"})
    snapshot, update, delete, tombstone = records("payments", 4)
    ms = 1_772_323_200_000
    image = {
        "_id": "p1", "merchantId": "m", "amount": 1250, "currency": "EUR", "method": "card", "points": {"used": 0, "earned": 1},
        "user": {"key": "k" * 22, "device": {"type": "pos"}}, "status": "succeeded", "paidAt": ms, "schemaVersion": 1,
    }  # fmt: skip
    refunded = {**image, "refunds": [{"id": "r1", "amount": 250, "refundedAt": ms}]}

    def document(record: Record) -> dict[str, Any]:
        assert record.value is not None
        return {name: value for name, value in record.value.items() if not name.startswith("__")}

    assert [document(record) for record in (snapshot, update, delete)] == [{**image, "refunds": []}, refunded, refunded]
    assert [record.value["__op"] for record in (snapshot, update, delete)] == ["r", "u", "d"]  # type: ignore[index]
    assert (tombstone.key, tombstone.value) == ("p1", None)
    assert not [record for record in (snapshot, update, delete) if b"RAW-ID" in record.raw or b"HIDDEN-OS" in record.raw]
    assert run(applied, "plan").return_value == 1
    assert run(applied, "apply", "--prune").return_value == 0
    assert run(applied, "plan").return_value == 0


def test_a_stopped_connector_goes_on_from_the_token_or_time_that_it_is_given(
    applied: Settings, database: Any, records: Callable[..., list[Record]]
) -> None:
    # connectors#5042: an operator can not supply a token. DBZ-6455: a dead token needs offset surgery.
    with database.merchants.watch() as stream:
        for name in ("o1", "o2", "o3"):
            database.merchants.insert_one({"_id": name, **MERCHANT})
        events = [stream.next() for _ in range(3)]
    keys = lambda: [record.key for record in records("merchants", 3) if record.key and record.key.startswith("o")]  # noqa: E731
    wait_until(lambda: keys() == ["o1", "o2", "o3"], 180, "three merchants on the topic")
    refused = run(applied, "offsets", "set", "merchants", "--resume-token", events[0]["_id"]["_data"], "--yes")
    assert refused.return_value == 2
    assert "is RUNNING; its offsets can be changed once it is stopped" in refused.output
    assert run(applied, "stop", "merchants").return_value == 0
    moved = run(applied, "offsets", "set", "merchants", "--resume-token", events[0]["_id"]["_data"], "--yes", "--json")
    assert moved.return_value == 0, moved.output
    told = json.loads(moved.output)
    assert "resume_token" in told["before"][0]["offset"]
    assert told["after"][0]["offset"] == {"resume_token": events[0]["_id"]["_data"]}
    assert run(applied, "resume", "merchants").return_value == 0
    wait_until(lambda: keys() == ["o1", "o2", "o3", "o2", "o3"], 180, "what follows the token comes again, and nothing else")

    assert run(applied, "stop", "merchants").return_value == 0
    at = events[2]["clusterTime"]
    assert run(applied, "offsets", "set", "merchants", "--cluster-time", f"{at.time}.{at.inc}", "--yes").return_value == 0
    assert run(applied, "resume", "merchants").return_value == 0
    wait_until(lambda: keys()[5:] == ["o3"], 180, "the change of that cluster time comes again")

    # A position that the oplog no longer reaches back to: the connector reads the collection again by itself and goes on.
    assert run(applied, "stop", "merchants").return_value == 0
    dead = run(applied, "offsets", "set", "merchants", "--cluster-time", "1600000000", "--yes", "--json")
    assert json.loads(dead.output)["after"][0]["words"] == "at 2020-09-13 12:26:40 UTC (ordinal 0)"
    assert run(applied, "resume", "merchants").return_value == 0
    wait_until(lambda: sorted(keys()[6:]) == ["o1", "o2", "o3"], 180, "a dead position needs no surgery")

    assert run(applied, "stop", "merchants").return_value == 0
    reset = run(applied, "offsets", "reset", "merchants", "--yes", "--json")
    assert json.loads(reset.output)["after"] == []
    assert run(applied, "resume", "merchants").return_value == 0
    wait_until(lambda: sorted(keys()[9:]) == ["o1", "o2", "o3"], 180, "without offsets it begins with a snapshot")


@contextmanager
def millrace(environ: Settings, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours; a clean end on SIGTERM is part of the test."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "millrace", *arguments], env={**os.environ, **environ}, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def events_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


def test_a_task_that_fails_is_named_and_restarted_until_it_runs_again(
    applied: Settings, database: Any, tmp_path: Path, prefix: str, passwords: list[str]
) -> None:
    log = tmp_path / "watch.log"
    uri = applied["MILLRACE_MONGO_DEBEZIUM_URI"]
    user, password = uri.split("://")[1].split("@")[0].split(":")
    name = f"{prefix}.users"
    with (
        MongoClient[dict[str, Any]](applied["MILLRACE_MONGO_ADMIN_URI"]) as admin,
        millrace(applied, log, "connect", "watch", "--interval", "0.5"),
    ):
        wait_until(lambda: any(event["event"] == "watching" for event in events_of(log)), 180, "the watch is up")
        ops = next(event["ops"] for event in events_of(log) if event["event"] == "watching")
        try:
            admin.admin.command("updateUser", user, pwd="a-wrong-password")
            # A restart logs in anew: the task really fails, with MongoDB's refusal in its trace.
            failed = run(applied, "restart", "users", "--wait", "180")
            assert failed.return_value == 1
            assert re.search(rf"{name} failed: task 0: .*Authentication failed", failed.output)
            assert run(applied, "status").return_value == 1
            seen = lambda kind: [event for event in events_of(log) if event["event"] == kind and event["connector"] == name]  # noqa: E731
            wait_until(lambda: len(seen("failed")) >= 2, 180, "the watch names the failure, restarts, and names the next one")
            assert "Authentication failed" in seen("failed")[0]["trouble"]
            assert (seen("failed")[0]["task"], seen("failed")[0]["restart_in"], seen("failed")[1]["restart_in"]) == (0, 0.0, 2.0)
            assert [event["at_the_same_offset"] for event in seen("failed")[:2]] == [False, True]
            assert seen("restarting")
        finally:
            admin.admin.command("updateUser", user, pwd=password)
        wait_until(lambda: seen("runs again"), 180, "the watch restarts it once MongoDB lets it in again")
        wait_until(lambda: states(applied, "users") == ["RUNNING", "RUNNING"], 180, "it runs")
        metrics = httpx.get(f"{ops}/metrics", timeout=60, trust_env=False).text
        restarts = re.search(rf'millrace_connect_restarts_total{{connector="{re.escape(name)}",task="0"}} (\d)', metrics)
        assert restarts
        assert int(restarts[1]) >= 2
        wait_until(lambda: httpx.get(f"{ops}/ready", timeout=60, trust_env=False).json()["ready"] is True, 60, "the watch is ready")
    assert not [secret for secret in passwords if secret in log.read_text() + failed.output]


def test_the_http_endpoint_does_what_the_command_does_for_an_operator(
    applied: Settings, tmp_path: Path, passwords: list[str], prefix: str
) -> None:
    environ = {**applied, "MILLRACE_HOME": str(tmp_path)}
    made = subprocess.run(
        [sys.executable, "-m", "millrace", "token", "--role", "operator"], env={**os.environ, **environ}, capture_output=True, check=True
    )
    log = tmp_path / "serve.log"
    with millrace(environ, log, "connect", "serve", "--port", "0"):
        wait_until(lambda: any(event["event"] == "serving" for event in events_of(log)), 180, "it says where it serves")
        url = next(event["url"] for event in events_of(log) if event["event"] == "serving")

        def ready() -> bool:
            try:
                return httpx.get(f"{url}/ready", timeout=60, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, 180, "the endpoint is ready")
        headers = {"Authorization": f"Bearer {made.stdout.decode().strip()}"}
        with httpx.Client(base_url=f"{url}/v1/connect", headers=headers, trust_env=False, timeout=180) as client:
            assert httpx.get(f"{url}/v1/connect/connectors", timeout=60, trust_env=False).status_code == 401
            assert client.get("/plan").json()["changes"] == []
            assert client.post("/connectors/merchants/pause").json()["connectors"][0]["state"] == "PAUSED"
            assert client.post("/apply").json()["applied"][0]["name"] == f"{prefix}.merchants"
            whole = client.get("/connectors/merchants")
            assert whole.json()["config"]["mongodb.connection.string"] == "${env:MILLRACE_MONGO_DEBEZIUM_URI}"
            assert whole.json()["topics"]
            assert client.get("/connectors").json()["good"] is True
            assert not [secret for secret in passwords if secret in whole.text]


def test_a_cluster_is_looked_at(applied: Settings, passwords: list[str], prefix: str) -> None:
    worker = json.loads(run(applied, "worker", "--json").output)
    assert (worker["url"], worker["health"]) == (applied["MILLRACE_CONNECT_URL"], "healthy")
    plugins = json.loads(run(applied, "plugins", "--json").output)
    assert "io.debezium.connector.mongodb.MongoDbConnector" in [plugin["class"] for plugin in plugins]
    assert len(json.loads(run(applied, "plugins", "--all", "--json").output)) > len(plugins)
    keys = json.loads(run(applied, "plugins", "io.debezium.connector.mongodb.MongoDbConnector", "--json").output)
    assert "mongodb.connection.string" in [key["name"] for key in keys]
    shown = run(applied, "show", "merchants")
    assert json.loads(shown.output)["config"]["mongodb.connection.string"] == "${env:MILLRACE_MONGO_DEBEZIUM_URI}"
    assert not [secret for secret in passwords if secret in shown.output]
    assert f"{prefix}.merchants" in run(applied, "topics", "merchants").output.split()
    assert run(applied, "topics", "merchants", "--reset").return_value == 0
    # The worker learns of it through a topic; a heartbeat may be listed again already.
    listed = lambda: json.loads(run(applied, "topics", "merchants", "--json").output)  # noqa: E731
    wait_until(lambda: f"{prefix}.merchants" not in listed(), 180, "the list is empty")
    assert run(applied, "loggers", "org.apache.kafka.connect", "debug").return_value == 0
    assert json.loads(run(applied, "loggers", "org.apache.kafka.connect", "--json").output)["org.apache.kafka.connect"]["level"] == "DEBUG"
    assert run(applied, "loggers", "org.apache.kafka.connect", "info", "--cluster").return_value == 0
    assert run(applied, "restart", "merchants", "--task", "0").return_value == 0
    unknown = run(applied, "restart", "nope")
    assert (unknown.return_value, "Connector nope not found" in unknown.output) == (2, True)


def test_status_is_watched_until_it_is_stopped(applied: Settings, tmp_path: Path) -> None:
    log = tmp_path / "status.log"
    assert run(applied, "resume", "merchants").return_value == 0
    with millrace(applied, log, "connect", "status", "--watch", "0.3", "--json"):
        wait_until(lambda: '"good":true' in log.read_text(), 180, "the state of now")
        assert run(applied, "pause", "merchants").return_value == 0
        wait_until(lambda: "PAUSED, declared RUNNING" in log.read_text(), 180, "the change")
        assert run(applied, "resume", "merchants").return_value == 0
        wait_until(lambda: log.read_text().splitlines()[-1:] and '"good":true' in log.read_text().splitlines()[-1], 180, "the change back")


def test_a_worker_that_is_away_is_one_line_and_its_own_exit_code(applied: Settings) -> None:
    away = run({**applied, "MILLRACE_CONNECT_URL": "http://127.0.0.1:9"}, "status")
    assert away.return_value == 3
    assert away.output.startswith("Error: Kafka Connect does not answer at http://127.0.0.1:9 (")
    assert len(away.output.splitlines()) == 1
