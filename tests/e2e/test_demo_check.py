"""``millrace demo --check`` on a home that has run before, with a kill -9 in the middle of the replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_stack.home import Home
from millrace_stack.processes import Processes
from tests.e2e.pipeline import demo, payments_in, processes_of, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]


def test_the_check_is_equal_after_the_relay_was_killed_in_mid_replay(demo_home: Path) -> None:  # I2
    processes = Processes(Home(demo_home))
    options = ("--check", "--limit-baskets", "12000", "--sample", "10", "--wait", "900")
    with demo(demo_home, demo_home.parent / "check.log", *options) as started:
        started.await_output("Reading a year of retail baskets", 600)
        before = payments_in(demo_home)
        until("the replay is under way", lambda: payments_in(demo_home) > before + 1_000, 300)
        assert processes.kill("relay")
        assert started.wait(1200) == 0, started.output[-4000:]
    assert "All equal." in started.output
    assert "relay died" in started.output
    assert processes_of(demo_home) == []
