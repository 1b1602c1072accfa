"""Only processes of ours are ever signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from millrace_stack import identity
from tests.support.waiting import wait_until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print('up', flush=True); time.sleep(600)",
]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEPER, start_new_session=True) as child:
        yield child
        child.kill()


def test_a_process_is_itself_and_no_other(sleeper: subprocess.Popen[bytes]) -> None:
    who = identity.identify(sleeper.pid)
    assert who is not None
    assert who.pid == sleeper.pid
    assert identity.alive(who)
    assert identity.identify(os.getpid()) != who


def test_a_reused_pid_gets_no_signal(sleeper: subprocess.Popen[bytes]) -> None:
    """The record is of an earlier process under the pid that the sleeper has now."""
    now = identity.identify(sleeper.pid)
    assert now is not None
    earlier = replace(now, started=now.started - 1)
    assert not identity.alive(earlier)
    assert not identity.send(earlier, signal.SIGKILL)
    assert identity.send_group(earlier, "token", signal.SIGKILL) == 0
    assert sleeper.poll() is None


def test_a_pid_of_an_earlier_boot_gets_no_signal(sleeper: subprocess.Popen[bytes]) -> None:
    now = identity.identify(sleeper.pid)
    assert now is not None
    before_reboot = replace(now, boot="00000000-0000-0000-0000-000000000000")
    assert not identity.alive(before_reboot)
    assert identity.members(before_reboot, "token") == []
    assert not identity.send(before_reboot, signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: identity.identify(child.pid) is None, 60, "the child has ended")
    child.wait()


def test_a_group_is_signalled_with_its_children() -> None:
    with subprocess.Popen(PARENT, start_new_session=True, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        who = identity.identify(parent.pid)
        assert who is not None
        # The child is in the group from its first instant, but a table of processes that is read in that instant may miss it.
        wait_until(lambda: len(identity.members(who, "token")) == 2, 60, "parent and child are seen")
        assert identity.send_group(who, "token", signal.SIGKILL) == 2
        parent.wait()
        wait_until(lambda: identity.members(who, "token") == [], 60, "the group is gone")


def test_after_the_leader_only_children_with_the_token_belong() -> None:
    environ = {**os.environ, identity.OWNER: "mine"}
    with subprocess.Popen(PARENT, start_new_session=True, stdout=subprocess.PIPE, env=environ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        who = identity.identify(parent.pid)
        assert who is not None
        parent.kill()
        parent.wait()
        assert identity.send_group(who, "another's", signal.SIGKILL) == 0
        assert len(identity.members(who, "mine")) == 1
        assert [each.pid for each in identity.carrying("mine")] == identity.members(who, "mine")
        assert identity.send_group(who, "mine", signal.SIGKILL) == 1
