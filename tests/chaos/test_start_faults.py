"""Servers that go away while others start: everything comes back by itself, and all numbers are equal afterwards (I1 to I8)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace_stack.home import Home
from millrace_stack.processes import Processes
from millrace_stack.truth.mongo import Figures
from tests.e2e.pipeline import Running, demo, processes_of, truth_json, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3_600)]
LIVE = "until Ctrl-C"
BASKETS = ("--limit-baskets", "500", "--rate", "1", "--jobs-every", "3600")
SEQUENCE = (("processors", 0.0), ("kafka", 7.0), ("cassandra", 9.0), ("redis", 0.0))
"""Who is killed, and how many seconds after the one before: the driver is starting while the broker and Cassandra go."""


def test_the_driver_the_broker_cassandra_and_redis_killed_while_they_start_come_back_by_themselves(tmp_path: Path) -> None:
    home = tmp_path / ".millrace"
    processes = Processes(Home(home))
    with demo(home, tmp_path / "demo.log", *BASKETS) as started:
        started.await_output(LIVE, 1_800)
        began = time.monotonic()
        for victim, later in SEQUENCE:
            began += later
            until(f"{later:g} s later", lambda at=began: time.monotonic() >= at, 60)  # type: ignore[misc]
            assert processes.kill(victim)
        running = Running(Home(home))
        try:
            # A new merchant comes through Debezium, a payment through the relay, and the driver takes both.
            merchant, now = running.merchant(), datetime.now(UTC)
            running.post(merchant, 1_999, now, userId="somebody")
            until("the payment is in the report", lambda: _figures(running, merchant, now).payments == 1, 1_500)
            assert running.window(merchant, now) == Figures(payments=1, gross=1_999, customers=1)
        finally:
            running.close()
        code, told = truth_json(home, "--wait", "900")
        assert code == 0, (told, started.output[-4000:])
        said = [line for line in started.output.splitlines() if "did not come back" in line]
        assert all("; again in " in line for line in said), said
        assert "Traceback" not in (home / "logs" / "processors.log").read_text().split('"stream.query_failed"')[0]
        started.interrupt()
        assert started.wait(300) == 0
    assert processes_of(home) == []


def _figures(running: Running, merchant: str, at: datetime) -> Figures:
    try:
        return running.window(merchant, at)
    except Exception:  # away, or the merchant is not known yet
        return Figures()
