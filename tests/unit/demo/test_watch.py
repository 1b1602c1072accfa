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
