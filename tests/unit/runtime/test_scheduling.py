"""The policy is the kernel's: asked of a process of its own, and of a thread and a child that it starts."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys, threading
from millrace_contracts.settings import RuntimeSettings
from millrace_runtime.scheduling import schedule
granted = schedule(RuntimeSettings.load({"MILLRACE_RUNTIME_SCHEDULING": sys.argv[1]}))
found = []
thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
child = subprocess.run([sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"], capture_output=True, text=True, check=True)
print(granted, os.sched_getscheduler(0), found[0], child.stdout.strip())
"""


def asked(wanted: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, wanted]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux's policy")
def test_batch_holds_for_threads_and_children_too() -> None:
    assert asked("batch") == ["True", *[str(os.SCHED_BATCH)] * 3]


@pytest.mark.skipif(not hasattr(os, "SCHED_OTHER"), reason="Linux's policy")
def test_normal_leaves_all_as_it_is() -> None:
    assert asked("normal") == ["False", *[str(os.sched_getscheduler(0))] * 3]
