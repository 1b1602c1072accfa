"""A job that runs once, or until it is asked to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import httpx
import pytest
from cassandra.cluster import NoHostAvailable

from millrace_contracts.settings import RuntimeSettings
from millrace_processors import schedule as schedule_module
from millrace_processors.errors import UnavailableError
from millrace_processors.schedule import LATE_SECONDS, Schedule
from tests.support.ports import free_port

RUNTIME = RuntimeSettings.load({})


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_pause_it_runs_once() -> None:
    runs: list[int] = []
    Schedule("rollup", None).run(RUNTIME, 0, lambda: runs.append(1))
    assert runs == [1]


@pytest.mark.usefixtures("handlers")
def test_with_a_pause_it_runs_until_it_is_asked_to_stop_and_ends_what_it_has_begun() -> None:
    runs: list[str] = []

    def once() -> None:
        if len(runs) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        runs.append("ended")

    Schedule("rollup", 0.01).run(RUNTIME, 0, once)
    assert runs == ["ended"] * 3


@pytest.mark.usefixtures("handlers")
def test_operators_see_whether_it_is_on_time() -> None:
    now = [1_000.0]
    port = free_port()
    schedule = Schedule("maintain", 100, clock=lambda: now[0])
    seen: list[tuple[int, str]] = []

    def once() -> None:
        answer = httpx.get(f"http://127.0.0.1:{port}/ready")
        seen.append((answer.status_code, answer.json()["state"]))
        now[0] += 20
        os.kill(os.getpid(), signal.SIGTERM)

    schedule.run(RUNTIME, port, once)
    assert seen == [(503, "first run")]
    assert schedule.readiness() == (True, {"job": "maintain", "state": "on time", "lastRun": "1970-01-01T00:17:00+00:00"})
    assert schedule.metrics.registry.get_sample_value("millrace_job_runs_total", {"job": "maintain"}) == 1
    assert schedule.metrics.registry.get_sample_value("millrace_job_run_seconds", {"job": "maintain"}) == 20
    now[0] += 3 * 100 + LATE_SECONDS
    assert schedule.readiness()[0]
    now[0] += 1
    assert schedule.readiness()[:1] == (False,)


def test_a_run_that_fails_ends_it() -> None:
    def fail() -> None:
        raise ValueError("no lake")

    with pytest.raises(ValueError, match="no lake"):
        Schedule("rollup", None).run(RUNTIME, 0, fail)


@pytest.mark.usefixtures("handlers")
def test_a_repeated_job_waits_for_a_server_and_says_for_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "FIRST_PAUSE", 0.001)
    schedule, seen = Schedule("rollup", 100), list[str]()

    def once() -> None:
        seen.append(schedule.readiness()[1]["state"])
        if len(seen) < 4:
            raise NoHostAvailable("Unable to complete the operation against any hosts", {})
        os.kill(os.getpid(), signal.SIGTERM)

    schedule.run(RUNTIME, 0, once, patience=3600)
    assert seen[0] == "first run"
    assert (
        seen[1:]
        == ["waiting: Cassandra does not answer (('Unable to complete the operation against any hosts', {})); is the stack up?"] * 3
    )
    assert schedule.readiness()[0]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("every", "patience"), [(None, 3600.0), (100, 0.0)])
def test_without_a_pause_or_patience_a_server_that_is_away_ends_it(every: float | None, patience: float) -> None:
    def once() -> None:
        raise UnavailableError("MongoDB does not answer")

    with pytest.raises(UnavailableError):
        Schedule("audit", every).run(RUNTIME, 0, once, patience)
