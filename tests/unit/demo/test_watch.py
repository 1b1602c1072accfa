"""The loop that starts again what dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from millrace_stack.demo.watch import Watch
from millrace_stack.errors import StackError
from millrace_stack.home import Home
from millrace_stack.processes import Processes, ProcessSpec


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        threading.Event().wait(0.02)


def _sleeper(name: str) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-c", "import time; time.sleep(600)"], ready=lambda: True)


def test_a_killed_tier_is_started_again_and_the_person_sees_it(tmp_path: Path) -> None:
    processes, said = Processes(Home(tmp_path)), []
    spec = _sleeper("relay")
    first = processes.start(spec)
    try:
        with Watch(processes, {"relay": spec}, lambda: None, said.append):
            os.kill(first.pid, signal.SIGKILL)
            _until(lambda: any("is back" in line for line in said))
            second = processes.find("relay")
            assert second is not None
            assert second.pid != first.pid
        assert said[0].startswith("! relay died; starting again")
    finally:
        processes.stop("relay")


def test_a_killed_server_is_brought_back_by_the_stack(tmp_path: Path) -> None:
    processes, revived = Processes(Home(tmp_path)), threading.Event()
    server = _sleeper("mongo")
    processes.start(server)

    def revive() -> None:
        processes.start(server)
        revived.set()

    try:
        with Watch(processes, {}, revive, lambda _: None):
            processes.kill("mongo")
            assert revived.wait(60)
            _until(lambda: processes.find("mongo") is not None)
    finally:
        processes.stop("mongo")


def test_nothing_is_started_behind_the_stop(tmp_path: Path) -> None:
    processes = Processes(Home(tmp_path))
    spec = _sleeper("relay")
    processes.start(spec)
    with Watch(processes, {"relay": spec}, lambda: None, lambda _: None):
        pass
    processes.stop("relay")
    assert processes.find("relay") is None


def _after(tries: int, folder: Path, then: str) -> ProcessSpec:
    """Ends with code 3 and words so many times, as a tier does whose server is away; then it stays."""
    code = (
        f"import pathlib, sys, time; said = pathlib.Path({str(folder / 'tries')!r}); said.open('a').write('x');\n"
        f"if len(said.read_text()) <= {tries}: sys.exit('Error: Cassandra at 127.0.0.1:1 does not answer') if {then!r} else None\n"
        "time.sleep(600)"
    )
    return ProcessSpec("processors", [sys.executable, "-c", code], ready=lambda: len((folder / "tries").read_text()) > tries)


def test_a_tier_whose_start_fails_is_tried_again_until_it_holds_and_says_why(tmp_path: Path) -> None:
    processes, said = Processes(Home(tmp_path)), list[str]()
    first = processes.start(_sleeper("processors"))
    try:
        with Watch(processes, {"processors": _after(2, tmp_path, "words")}, lambda: None, said.append):
            os.kill(first.pid, signal.SIGKILL)
            _until(lambda: any("is back" in line for line in said))
        failed = [line for line in said if "did not come back" in line]
        assert len(failed) == 2
        assert all("Cassandra at 127.0.0.1:1 does not answer; again in" in line for line in failed)
        assert processes.find("processors") is not None
    finally:
        processes.stop("processors")


def test_servers_that_do_not_come_back_are_tried_again_though_their_records_are_gone(tmp_path: Path) -> None:
    """`millrace stack up` stops what it started when one of them fails."""
    processes, said, tries = Processes(Home(tmp_path)), list[str](), list[int]()
    processes.start(_sleeper("cassandra"))

    def revive() -> None:
        tries.append(1)
        processes.stop("cassandra")
        if len(tries) < 3:
            raise StackError("cassandra is not ready after 120 s")
        processes.start(_sleeper("cassandra"))

    try:
        with Watch(processes, {}, revive, said.append):
            processes.kill("cassandra")
            _until(lambda: any("is back" in line for line in said))
        assert len(tries) == 3
    finally:
        processes.stop("cassandra")


def test_what_was_stopped_on_purpose_stays_down(tmp_path: Path) -> None:
    processes, said = Processes(Home(tmp_path)), list[str]()
    spec, other = _sleeper("relay"), _sleeper("api")
    processes.start(spec)
    processes.start(other)
    try:
        with Watch(processes, {"relay": spec, "api": other}, lambda: None, said.append):
            processes.stop("relay")
            processes.kill("api")
            _until(lambda: any("api is back" in line for line in said))
            assert processes.find("relay") is None
        assert not any("relay" in line for line in said)
    finally:
        processes.stop("api")
