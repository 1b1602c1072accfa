"""A clean stop by a real signal in a real process."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

LOOP = textwrap.dedent("""
    from millrace_runtime.stopping import StopSignal
    stop = StopSignal().install()
    print("started", flush=True)
    while not stop.wait(30):
        pass
    print("finished", flush=True)
    {tail}
""")


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(processes: list[subprocess.Popen[str]], tail: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", LOOP.format(tail=tail)], stdout=subprocess.PIPE, text=True)
    processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_sigterm_ends_the_loop_and_the_process_finishes(processes: list[subprocess.Popen[str]]) -> None:
    process = start(processes)
    process.terminate()
    assert process.communicate(timeout=60)[0] == "finished\n"
    assert process.returncode == 0


def test_a_second_signal_ends_a_process_that_hangs_while_stopping(processes: list[subprocess.Popen[str]]) -> None:
    process = start(processes, tail="import threading; threading.Event().wait()")
    process.terminate()
    assert process.stdout is not None
    assert process.stdout.readline() == "finished\n"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        process.terminate()
        time.sleep(0.05)
    assert process.returncode == 130
