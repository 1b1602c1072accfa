"""A query that has ended and does not let go of its slot or of the cores: its engine goes, and what becomes of everybody else's jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_processors.query.errors import NotReadyError
from millrace_processors.query.identity import Caller
from millrace_processors.query.jobs import Job, State
from millrace_processors.query.results import Results
from tests.support.waiting import wait_until
from tests.unit.processors_query.conftest import ANNE, BOB, Place

SLOTS = 2


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "queries", max_running=SLOTS, grace_seconds=0.1, timeout_seconds=1_000, penalty_seconds=300)
    yield made
    made.engine.gate.set()
    made.engine.released.set()
    made.service.stop()


def _runs(place: Place, job: Job) -> None:
    wait_until(lambda: any(started[0] == job.id for started in place.engine.started), 60, "the query runs")


def _value(place: Place, name: str, **labels: str) -> float | None:
    return place.metrics.registry.get_sample_value(f"millrace_query_{name}", labels)


@pytest.mark.parametrize("listens", [True, False])
def test_an_engine_whose_tasks_do_not_hear_a_cancel_is_given_up(tmp_path: Path, listens: bool) -> None:
    place = Place(tmp_path, grace_seconds=0.1)
    place.engine.gate.clear()
    job = place.ask()
    _runs(place, job)
    if not listens:
        place.engine.unstoppable.add(job.id)
    place.service.cancel(ANNE, job.id)
    assert place.given_up.wait(1 if listens else 60) is not listens
    place.service.stop()


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_an_engine_that_plans_without_end_is_given_up(tmp_path: Path, how: str) -> None:
    place = Place(tmp_path, grace_seconds=0.1, timeout_seconds=0.2 if how == "timeout" else 1_000)
    place.engine.stuck.add(ANNE.tenant)
    job = place.ask()
    _runs(place, job)
    if how == "cancel":
        place.service.cancel(ANNE, job.id)
    assert place.given_up.wait(60)
    assert place.service.job(ANNE, job.id).state is (State.FAILED if how == "timeout" else State.CANCELED)
    place.engine.released.set()
    place.service.stop()


def test_an_engine_that_does_not_come_back_from_a_cancel_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    released = place.engine.released
    monkeypatch.setattr(place.engine, "cancel", lambda _: released.wait())
    monkeypatch.setattr(place.engine, "busy", lambda _: released.wait())
    place.engine.stuck.add(ANNE.tenant)
    job = place.ask()
    _runs(place, job)
    # On a thread, as a timer's, since it does not come back.
    threading.Thread(target=place.service.cancel, args=[ANNE, job.id]).start()
    assert place.given_up.wait(60)


def test_a_result_that_is_written_without_end_ends_the_engine_and_is_nobodys_fault(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    released = place.engine.released

    writes = threading.Event()

    def write(_self: Results, *_: Any) -> int:
        writes.set()
        released.wait()
        raise OSError("the disk is gone")

    monkeypatch.setattr(Results, "write", write)
    job = place.ask()
    assert writes.wait(60)
    place.service.cancel(ANNE, job.id)
    assert place.given_up.wait(60)
    monkeypatch.undo()
    place.replace_engine()
    assert place.service.job(ANNE, job.id).state is State.CANCELED
    assert place.ended(place.ask()).state is State.DONE
    assert _value(place, "engines_replaced_total", at="result") == 1


def test_readiness_is_denied_only_while_every_slot_is_held_by_what_has_ended(tmp_path: Path) -> None:
    place = Place(tmp_path, max_running=SLOTS, grace_seconds=1_000, timeout_seconds=1_000)
    place.engine.stuck |= {ANNE.tenant, BOB.tenant}
    jobs = [(ANNE, place.ask()), (BOB, place.ask(BOB))]
    for _, job in jobs:
        _runs(place, job)
    assert place.service.ready()[0]
    for number, (caller, job) in enumerate(jobs, 1):
        place.service.cancel(caller, job.id)
        assert place.service.ready()[0] is (number < SLOTS)
        assert _value(place, "slots_stuck") == number
    assert "2 slots" in place.service.ready()[1]
    place.engine.released.set()
    wait_until(lambda: place.service.ready()[0], 60, "the slots are free again")
    place.service.stop()


def _end_engine(place: Place, caller: Caller) -> Job:
    """A job of the caller that is planned without end, cancelled, and has the engine given up."""
    place.engine.stuck.add(caller.tenant)
    offender = place.ask(caller)
    _runs(place, offender)
    place.service.cancel(caller, offender.id)
    assert place.given_up.wait(60)
    return offender


def test_only_the_offenders_job_fails_and_the_others_run_again_by_themselves_once(place: Place) -> None:
    place.engine.gate.clear()
    running, waiting = place.ask(BOB), place.ask(BOB)
    _runs(place, running)
    offender = _end_engine(place, ANNE)
    assert place.service.ready() == (False, "the engine is being replaced")
    place.replace_engine()
    assert place.service.job(ANNE, offender.id).state is State.CANCELED
    assert place.ended(running, BOB).state is State.DONE
    assert place.ended(waiting, BOB).state is State.DONE
    assert _value(place, "jobs_again_total") == 2
    assert _value(place, "engines_replaced_total", at="statement") == 1

    # One that runs while two engines go has had its second run; one that never ran still waits for its first.
    place.engine.gate.clear()
    running, waiting = place.ask(BOB), place.ask(BOB)
    _runs(place, running)
    for analyst in ("zoe", "kim"):
        _end_engine(place, Caller(analyst, "operator", frozenset()))
        place.replace_engine(gate=analyst != "zoe")
        if analyst == "zoe":
            _runs(place, running)
    found = place.service.job(BOB, running.id)
    assert (found.state, found.code) == (State.LOST, "LOST")
    assert place.ended(waiting, BOB).state is State.DONE
    with pytest.raises(NotReadyError, match="lost"):
        place.service.page(BOB, running.id, 0, 10)


def test_a_tenant_that_ended_an_engine_waits_and_each_engine_makes_it_longer(place: Place) -> None:
    for engines in (1, 2):
        _end_engine(place, ANNE)
        place.replace_engine()
        assert place.ended(place.ask(BOB), BOB).state is State.DONE
        waiting = place.ask()
        other = place.ended(place.ask(BOB), BOB)
        assert (other.state, place.service.job(ANNE, waiting.id).state) == (State.DONE, State.QUEUED)
        assert _holds(place) == pytest.approx(300 * engines, abs=60)
        place.service.cancel(ANNE, waiting.id)
        place.pass_time(300 * engines)
        place.restart()
        assert ANNE.tenant not in place.service._queue._held
    place.pass_time(86_400)
    _end_engine(place, ANNE)
    place.replace_engine()
    assert _holds(place) == pytest.approx(300, abs=60)


def _holds(place: Place) -> float:
    return place.service._queue._held[ANNE.tenant] - place.service._queue._clock()


def test_after_a_kill_that_nobody_is_known_to_have_caused_nothing_is_taken_up(place: Place) -> None:
    place.engine.gate.clear()
    _end_engine(place, ANNE)
    place.replace_engine()
    place.engine.gate.clear()
    job = place.ask(BOB)
    _runs(place, job)
    place.replace_engine()
    assert place.service.job(BOB, job.id).state is State.LOST
