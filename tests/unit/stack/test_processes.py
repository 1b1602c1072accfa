"""A named process is started, known again, signalled and recovered."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_stack import identity
from millrace_stack.errors import PortTaken, StackError
from millrace_stack.home import Home
from millrace_stack.processes import Processes, ProcessSpec
from millrace_stack.readiness import Cancelled, tcp_answers
from tests.support.ports import free_port
from tests.support.waiting import wait_until

SERVER = """
import signal, socket, sys
print("hello", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        connection, _ = server.accept()
        connection.recv(64)
        connection.sendall(b"+PONG")
        connection.close()
"""
STUBBORN = SERVER.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
LEADER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    processes = Processes(made)
    for name in processes.names():
        processes.stop(name, within=1.0)


@pytest.fixture
def port() -> int:
    return free_port()


def spec(port: int, program: str = SERVER, stop_within: float = 60.0, ready_within: float = 60.0) -> ProcessSpec:
    return ProcessSpec(
        "server",
        [sys.executable, "-c", program, str(port)],
        ready=tcp_answers(port, b"PING", b"+PONG"),
        ports={"server": port},
        stop_within=stop_within,
        ready_within=ready_within,
    )


def test_another_program_finds_the_process_that_this_one_started(home: Home, port: int) -> None:
    owned = Processes(home).start(spec(port))
    elsewhere = Processes(Home(home.path))
    assert elsewhere.find("server") == owned
    status = elsewhere.status("server")
    assert status is not None
    assert (status.pid, status.port, status.state) == (owned.pid, port, "running")
    assert status.rss_bytes > 1_000_000
    assert home.log("server").read_text() == "hello\n"
    assert elsewhere.stop("server")
    assert Processes(home).find("server") is None
    assert not elsewhere.stop("server")


def test_starting_twice_starts_once(home: Home, port: int) -> None:
    first = Processes(home).start(spec(port))
    assert Processes(home).start(spec(port)) == first


def test_two_starts_at_the_same_time_start_once(home: Home, port: int) -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(Processes(home).start(spec(port)).pid)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 3
    assert len(set(pids)) == 1


def test_after_kill_9_the_next_start_is_a_new_process_at_the_same_port(home: Home, port: int) -> None:
    processes = Processes(home)
    first = processes.start(spec(port))
    assert processes.kill("server")
    assert processes.find("server") is None
    assert processes.names() == ["server"]
    second = processes.start(spec(port))
    assert second.pid != first.pid
    assert second.port == port


def test_a_record_whose_pid_is_now_anothers_is_stale_and_the_other_lives(home: Home, port: int) -> None:
    processes = Processes(home)
    processes.start(spec(port))
    processes.kill("server")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as bystander:
        record = home.path / "run" / "server.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "pid": bystander.pid}))
        assert processes.find("server") is None
        assert processes.status("server") is None
        assert not processes.kill("server")
        assert not processes.stop("server")
        processes.start(spec(port))
        assert bystander.poll() is None
        bystander.kill()


def test_a_process_whose_starter_died_before_its_pid_was_recorded_is_found_by_its_token(home: Home) -> None:
    record = home.folder("run") / "lost.json"
    record.write_text(json.dumps({"token": "f00d", "port": None, "stop_within": 1.0, "command": []}))
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, env={**os.environ, identity.OWNER: "f00d"}, start_new_session=True) as lost:
        found = Processes(home).find("lost")
        assert found is not None
        assert found.pid == lost.pid
        assert Processes(home).stop("lost")
        assert lost.wait(60) == -signal.SIGTERM


def test_what_a_dead_leader_left_is_ended_before_its_successor_starts(home: Home, port: int) -> None:
    processes = Processes(home)
    first = processes.start(spec(port, LEADER + SERVER))
    [_, child] = identity.members(first.identity, first.token)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: processes.find("server") is None, 60, "the leader is gone")
    assert identity.identify(child) is not None
    processes.start(spec(port))
    assert identity.identify(child) is None


def test_a_process_that_ignores_sigterm_is_killed_at_its_deadline(home: Home, port: int) -> None:
    processes = Processes(home)
    owned = processes.start(spec(port, STUBBORN, stop_within=0.3))
    assert processes.stop("server")
    assert not identity.alive(owned.identity)


def test_a_paused_process_hangs_goes_on_and_can_be_stopped_while_paused(home: Home, port: int) -> None:
    processes = Processes(home)
    processes.start(spec(port))
    assert processes.pause("server")
    wait_until(lambda: (status := processes.status("server")) and status.state == "paused", 60, "it is paused")
    assert processes.resume("server")
    wait_until(tcp_answers(port, b"PING", b"+PONG"), 60, "it answers again")
    processes.pause("server")
    assert processes.stop("server")
    assert processes.find("server") is None


def test_a_port_taken_by_another_names_port_holder_and_fix(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(PortTaken) as raised:
            Processes(home).start(spec(taken))
    assert f"port {taken} (server) is taken by pid {os.getpid()}" in raised.value.message
    assert "MILLRACE_STACK_PORTS=server=PORT" in raised.value.message
    assert Processes(home).names() == []


def test_a_process_that_ends_while_starting_shows_its_last_words(home: Home, port: int) -> None:
    with pytest.raises(StackError, match=r"(?s)server ended while starting; .*no such option"):
        Processes(home).start(spec(port, "print('no such option')"))


def test_a_process_that_does_not_get_ready_is_stopped(home: Home, port: int) -> None:
    with pytest.raises(StackError, match="server is not ready after 1 s"):
        Processes(home).start(spec(port, "import time; time.sleep(600)", ready_within=1.0))
    assert Processes(home).names() == []


def test_a_cancelled_start_stops_what_it_started(home: Home, port: int) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        Processes(home, cancelled).start(spec(port))
    assert Processes(home).names() == []


def test_a_program_that_is_not_there_is_named(home: Home, port: int) -> None:
    with pytest.raises(StackError, match="server: cannot run /nowhere/mongod"):
        Processes(home).start(ProcessSpec("server", ["/nowhere/mongod"], ready=lambda: True))
    assert Processes(home).names() == []


def test_a_process_that_has_ended_before_it_could_be_looked_at_is_told_with_its_last_words(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Error: Cassandra does not answer"

    def ended(pid: int) -> None:
        wait_until(lambda: home.log("short").read_text() == f"{said}\n", 60, "it has said so")

    monkeypatch.setattr(identity, "identify", ended)
    with pytest.raises(StackError, match="ended at once") as failed:
        Processes(home).start(ProcessSpec("short", [sys.executable, "-c", f"exit({said!r})"], ready=lambda: True))
    assert failed.value.brief == "short ended at once: Cassandra does not answer"
