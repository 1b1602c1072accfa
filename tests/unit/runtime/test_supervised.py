"""A worker's process ends with its supervisor, also where that one is gone before the worker has said so to the kernel."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing, os, sys, time
from millrace_runtime.supervised import end_with_supervisor

def worker():
    while sys.argv[1] == "killed" and os.getppid() == multiprocessing.parent_process().pid:
        time.sleep(0.01)
    try:
        end_with_supervisor()
        print("stays", flush=True)
    except SystemExit as ended:
        print("ends", ended.code, flush=True)

process = multiprocessing.get_context("fork").Process(target=worker)
process.start()
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
process.join()
"""


@pytest.mark.parametrize(("end", "code", "said"), [("killed", -signal.SIGKILL, "ends 6"), ("alive", 0, "stays")])
def test_a_worker_without_its_supervisor_ends(end: str, code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, end], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (code, said), done.stderr


DEAF = """
import multiprocessing, os, signal, sys, time
from millrace_runtime import supervised

def worker():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    supervised.GRACE_SECONDS = supervised.LOOK_SECONDS = 0.05
    supervised.end_with_supervisor()
    print("deaf", flush=True)
    while True:
        time.sleep(60)

multiprocessing.get_context("fork").Process(target=worker).start()
"""


def test_a_worker_that_has_missed_the_signal_ends_too() -> None:
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"deaf\n"
        process.kill()
        assert process.stdout.read() == b"", "its end closes the pipe"
