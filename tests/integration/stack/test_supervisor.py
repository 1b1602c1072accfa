"""Up, down and status with real servers, and what happens when they are killed or in each other's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from pymongo import MongoClient

from millrace_stack import ports
from millrace_stack.errors import StackError
from millrace_stack.home import Home, write_json
from millrace_stack.processes import Processes
from millrace_stack.servers import ALL, mongo
from millrace_stack.servers.mongo import variable
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
SMALL = {"MILLRACE_STACK_MONGO_CACHE_MB": "256", "MILLRACE_STACK_KAFKA_HEAP_MB": "384"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / ".millrace")
    yield made
    opened(made).down()


def opened(home: Home) -> Stack:
    return Stack(home, StackSettings.load({**SMALL, **os.environ}), lambda line: None)


def millrace(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "millrace", "stack", *arguments],
        env={**os.environ, **SMALL, "MILLRACE_HOME": str(home.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def write(home: Home, number: int) -> None:
    with MongoClient(home.settings()[variable("admin")]) as client:
        client.shop.get_collection("kept").insert_one({"_id": number})


def written(home: Home) -> list[int]:
    with MongoClient(home.settings()[variable("admin")]) as client:
        return sorted(document["_id"] for document in client.shop.kept.find())


def passwords(home: Home) -> list[str]:
    uris = [uri for name, uri in home.settings().items() if name == "MILLRACE_REDIS_URL" or name.endswith("_URI")]
    found = sorted(uris, key=lambda uri: not uri.startswith("redis"))
    return [str(urlsplit(uri).password) for uri in found]


def test_up_status_and_down_tell_what_is_there(home: Home) -> None:
    up = millrace(home, "up", "--only", "redis,mongo", "--json")
    assert up.returncode == 0, up.stderr
    assert "mongo is ready" in up.stderr
    told = json.loads(up.stdout)
    assert sorted(each["name"] for each in told["servers"] if each["state"] == "healthy") == ["mongo", "redis"]
    assert [secret for secret in passwords(home) if secret in up.stdout] == []
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    without = home.settings()["MILLRACE_REDIS_URL"].replace(passwords(home)[0], "")
    with redis.Redis.from_url(without) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.set("kept", "no")
    status = millrace(home, "status", "--json")
    assert status.returncode == 1, "three servers are down"
    servers = {each["name"]: each for each in json.loads(status.stdout)}
    assert {name: each["state"] for name, each in servers.items()} == {
        "mongo": "healthy",
        "kafka": "down",
        "connect": "down",
        "cassandra": "down",
        "redis": "healthy",
    }
    assert servers["redis"]["pid"] == Processes(home).find("redis").pid  # type: ignore[union-attr]
    assert "runs already" in millrace(home, "up", "--only", "mongo").stderr
    down = millrace(home, "down")
    assert "stopped mongo, redis" in down.stderr
    assert [Processes(home).find(name) for name in ALL] == [None] * 5
    assert "nothing was running" in millrace(home, "down").stderr


def test_after_kill_9_of_everything_the_next_start_has_the_data_at_the_same_addresses(home: Home) -> None:
    stack = opened(home)
    first = stack.up(["mongo", "kafka", "redis"])
    write(home, 1)
    for name in ("mongo", "kafka", "redis"):
        assert stack.processes.kill(name)
    assert stack.up(["mongo", "kafka", "redis"]) == first
    write(home, 2)
    assert written(home) == [1, 2]


def test_a_second_start_keeps_what_others_published(home: Home) -> None:
    stack = opened(home)
    stack.up(["redis"])
    home.publish({"MILLRACE_API_URL": "http://127.0.0.1:1"})
    stack.restart("redis")
    assert home.settings()["MILLRACE_API_URL"] == "http://127.0.0.1:1"


def test_a_taken_port_stops_what_this_start_began_and_leaves_what_ran(home: Home) -> None:
    stack = opened(home)
    stack.up(["redis"])
    port = ports.assign(home, ["mongo"], {})["mongo"]
    with socket.create_server(("127.0.0.1", port)):
        failed = millrace(home, "up", "--only", "redis,mongo,kafka")
    assert failed.returncode == 2
    assert f"Error: port {port} (mongo) is taken by pid {os.getpid()}" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert stack.processes.find("kafka") is None
    assert stack.processes.find("redis") is not None


def test_ctrl_c_stops_what_this_start_began(home: Home) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(
            [sys.executable, "-m", "millrace", "stack", "up", "--only", "redis,kafka"],
            env={**os.environ, **SMALL, "MILLRACE_HOME": str(home.path)},
            stderr=subprocess.PIPE,
            text=True,
        ) as starting:
            wait_until(lambda: Processes(home).find("kafka"), 120, "the broker is starting")
            starting.send_signal(signum)
            _, said = starting.communicate(timeout=180)
            assert starting.returncode == 130, said
        assert "interrupted" in said
        assert "Traceback" not in said
        assert Processes(home).names() == []


def test_two_ups_at_the_same_time_start_each_server_once(home: Home) -> None:
    command = [sys.executable, "-m", "millrace", "stack", "up", "--only", "mongo,redis"]
    environ = {**os.environ, **SMALL, "MILLRACE_HOME": str(home.path)}
    logs = [home.folder() / f"up-{number}.log" for number in range(2)]
    # Both wait for us: neither can be done before the other one has begun.
    with home.lock("up"):
        both = []
        for log in logs:
            with log.open("wb") as out:
                both.append(subprocess.Popen(command, env=environ, stderr=out))
        wait_until(lambda: all("is at work" in log.read_text() for log in logs), 120, "both wait")
    codes = [each.wait(200) for each in both]
    said = "".join(log.read_text() for log in logs)
    assert codes == [0, 0], said
    assert said.count("mongo is ready") == said.count("mongo runs already") == 1


def test_mongo_moves_with_its_data_to_a_port_that_a_person_chose(home: Home) -> None:
    opened(home).up(["mongo"])
    write(home, 1)
    opened(home).down()
    port = ports._free(set())
    moved = Stack(home, StackSettings.load({**SMALL, **os.environ, "MILLRACE_STACK_PORTS": f"mongo={port}"}), lambda line: None)
    settings = moved.up(["mongo"])
    assert f"127.0.0.1:{port}" in settings[variable("relay")]
    write(home, 2)
    assert written(home) == [1, 2]


def test_lost_passwords_are_told_with_the_fix_and_wipe_starts_afresh(home: Home) -> None:
    opened(home).up(["mongo"])
    write(home, 1)
    opened(home).down()
    (home.path / "secrets.json").unlink()
    with pytest.raises(StackError, match=r"another password than secrets\.json; `millrace stack wipe`"):
        opened(home).up(["mongo"])
    assert millrace(home, "wipe", "--yes").returncode == 0
    opened(home).up(["mongo"])
    assert written(home) == []


@pytest.mark.parametrize("founded", [False, True])
def test_a_mongod_killed_before_it_had_an_administrator_gets_one(home: Home, founded: bool) -> None:
    """The first start was killed before, or after, the replica set was founded."""
    stack = opened(home)
    context = stack._context(["mongo"])
    stack.processes.start(ALL["mongo"].spec(context))
    if founded:
        with MongoClient("127.0.0.1", context.ports["mongo"], directConnection=True) as client:
            mongo._initiate(client, context.ports["mongo"])
            wait_until(lambda: client.admin.command("hello")["isWritablePrimary"], 120, "there is a primary")
    assert stack.processes.kill("mongo")
    stack.up(["mongo"])
    write(home, 1)
    assert written(home) == [1]


def test_a_server_that_hangs_is_told_apart_from_one_that_is_down(home: Home) -> None:
    stack = opened(home)
    stack.up(["redis"])

    def state() -> str:
        return next(each.state for each in stack.status() if each.name == "redis")

    stack.processes.pause("redis")
    wait_until(lambda: state() == "paused", 60, "redis is paused")  # the kernel stops it some time after the signal
    stack.processes.resume("redis")
    wait_until(lambda: state() == "healthy", 60, "redis is healthy again")


def test_logs_prints_the_end_of_a_log_and_names_the_others(home: Home) -> None:
    opened(home).up(["redis"])
    shown = millrace(home, "logs", "redis", "-n", "1")
    assert "Ready to accept connections" in shown.stdout
    assert len(shown.stdout.splitlines()) == 1
    wrong = millrace(home, "logs", "nothing")
    assert wrong.returncode == 2
    assert "there is redis" in wrong.stderr


def test_a_broken_endpoints_file_is_one_line(home: Home) -> None:
    write_json(home.path / "endpoints.json", {"wrong": 1})
    failed = millrace(home, "up", "--only", "redis")
    assert failed.returncode == 2
    assert "endpoints.json: not a settings file" in failed.stderr
    (home.path / "endpoints.json").unlink()
