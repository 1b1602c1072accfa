"""``millrace demo --check`` on a home that has run before, with a kill -9 in the middle of the replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_stack.home import Home
from millrace_stack.processes import Processes
from tests.e2e.pipeline import demo, payments_in, processes_of, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


def test_the_check_is_equal_after_the_relay_was_killed_in_mid_replay(demo_home: Path) -> None:  # I2
    processes = Processes(Home(demo_home))
    with demo(demo_home, demo_home.parent / "check.log", "--check", "--limit-baskets", "30000", "--sample", "10") as started:
        started.await_output("Reading a year of retail baskets", 400)
        until("the replay is half done", lambda: payments_in(demo_home) > 12_000, 120)
        assert processes.kill("relay")
        assert started.wait(600) == 0, started.output[-4000:]
    assert "All equal." in started.output
    assert "relay died" in started.output
    assert processes_of(demo_home) == []
