"""kill -9 of each part, once, in the middle of the replay of the whole year: afterwards all is equal (I1 to I8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_stack.home import Home
from millrace_stack.processes import Processes
from tests.e2e.pipeline import demo, payments_in, processes_of, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]
YEAR = 155_848


@pytest.mark.parametrize("victim", ["relay", "processors", "mongo", "kafka", "cassandra"])
def test_all_is_equal_after_a_kill_in_mid_replay(victim: str, tmp_path: Path) -> None:
    home = tmp_path / ".millrace"
    processes = Processes(Home(home))
    with demo(home, tmp_path / "demo.log", "--check", "--wait", "900") as started:
        started.await_output("Reading a year of retail baskets", 600)
        until("the replay is half done", lambda: payments_in(home) > YEAR // 2, 300)
        assert processes.kill(victim)
        assert started.wait(1_500) == 0, started.output[-4000:]
    assert "died; starting again" in started.output
    assert "All equal." in started.output
    assert processes_of(home) == []


def test_a_start_after_everything_was_killed_goes_on_and_ends_equal(tmp_path: Path) -> None:
    home = tmp_path / ".millrace"
    processes = Processes(Home(home))
    with demo(home, tmp_path / "first.log", "--check") as first:
        first.await_output("Reading a year of retail baskets", 600)
        until("the replay is half done", lambda: payments_in(home) > YEAR // 2, 300)
        first.process.kill()
        first.process.wait(30)
        for name in processes.names():
            processes.kill(name)
    with demo(home, tmp_path / "second.log", "--check", "--wait", "900") as second:
        assert second.wait(1_500) == 0, second.output[-4000:]
    assert "All equal." in second.output
    assert processes_of(home) == []
