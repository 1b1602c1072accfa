"""The life of a query, on a fake engine: turns, cancelling, time, restarts, expiry, and who may look."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace_processors.query.errors import (
    BusyError,
    FailedError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    NotReadyError,
    RefusedError,
    TooLargeError,
)
from millrace_processors.query.identity import Caller
from millrace_processors.query.jobs import State
from tests.support.waiting import wait_until
from tests.unit.processors_query.conftest import ANALYST, ANNE, BOB, Place


def test_a_query_runs_and_its_rows_are_paged_out(place: Place) -> None:
    job = place.ended(place.ask())
    assert (job.state, job.rows, job.truncated, job.rows_read) == (State.DONE, 3, False, 42)
    assert (job.as_of_ms, job.complete_through_ms) == (1_700_000_000_000, 1_600_000_000_000)
    first = place.service.page(ANNE, job.id, 0, 2)
    assert (first.table.column("n").to_pylist(), first.next, first.total) == ([0, 1], 2, 3)
    last = place.service.page(ANNE, job.id, 2, 2)
    assert (last.table.column("n").to_pylist(), last.next) == ([2], None)


def test_an_id_is_of_letters_and_digits_so_that_a_command_line_takes_it_for_no_option(place: Place) -> None:
    assert re.fullmatch("[0-9a-f]{32}", place.ask().id)


def test_the_engine_gets_the_callers_rows_only(place: Place) -> None:
    place.ended(place.ask())
    (_, pool, statement) = place.engine.started[0]
    assert pool == ANNE.tenant
    assert {"m1", "m2"} <= set(map(str, statement.parameters.values()))
    assert "`merchant_id` IN (:p0, :p1)" in statement.sql


def test_a_merchant_names_its_own_merchants_and_no_other(place: Place) -> None:
    job = place.ended(place.ask(merchants=["m2"]))
    assert json.loads(job.merchants) == ["m2"]
    assert "m1" not in map(str, place.engine.started[0][2].parameters.values())
    with pytest.raises(ForbiddenError, match="m3"):
        place.ask(merchants=["m2", "m3"])
    with pytest.raises(ForbiddenError, match="no merchant"):
        place.ask(Caller("nobody", "merchant", frozenset()))


def test_an_analyst_asks_for_all_merchants_or_names_some(place: Place) -> None:
    everyone = place.ended(place.ask(ANALYST, sql="SELECT gender FROM payments"), ANALYST)
    assert json.loads(everyone.merchants) is None
    assert "merchant_id` IN" not in place.engine.started[0][2].sql
    some = place.ended(place.ask(ANALYST, merchants=["m9"]), ANALYST)
    assert json.loads(some.merchants) == ["m9"]
    with pytest.raises(RefusedError, match="gender"):
        place.ask(sql="SELECT gender FROM payments")


def test_the_range_is_the_last_days_unless_one_is_named(place: Place) -> None:
    job = place.ask()
    at = [datetime.fromtimestamp(ms / 1000, UTC) for ms in (job.start_ms, job.end_ms)]
    assert at == [datetime(2026, 10, 25, 12, 10, tzinfo=UTC), datetime(2026, 11, 25, 12, 10, tzinfo=UTC)]
    assert job.default_range
    named = place.ask(start="2026-11-01T10:05Z", end="2026-11-01T10:15+00:00")
    at = [datetime.fromtimestamp(ms / 1000, UTC) for ms in (named.start_ms, named.end_ms)]
    assert at == [datetime(2026, 11, 1, 10, 0, tzinfo=UTC), datetime(2026, 11, 1, 10, 20, tzinfo=UTC)]
    assert not named.default_range
    with pytest.raises(TooLargeError, match="400 days"):
        place.ask(start="1970-01-01")


def test_nobody_else_finds_a_query_and_none_learns_that_it_is_there(place: Place) -> None:
    job = place.ended(place.ask())
    same_person_other_rows = Caller("anne", "merchant", frozenset({"m1"}))
    same_rows_other_person = Caller("eve", "merchant", ANNE.merchants)
    for other in (BOB, ANALYST, same_person_other_rows, same_rows_other_person):
        said = []
        for name in (job.id, "no-such-job"):
            for ask in (place.service.job, place.service.cancel):
                with pytest.raises(NotFoundError) as found:
                    ask(other, name)
                said.append(found.value.message.replace(name, "ID"))
            with pytest.raises(NotFoundError) as found:
                place.service.page(other, name, 0, 10)
            said.append(found.value.message.replace(name, "ID"))
        assert len(set(said)) == 1
        assert place.service.jobs(other) == []
    assert [each.id for each in place.service.jobs(ANNE)] == [job.id]
    assert place.service.job(ANNE, job.id).state is State.DONE


def test_a_tenants_full_line_is_refused_while_another_tenants_is_served(place: Place) -> None:
    place.engine.gate.clear()
    running = place.ask()
    wait_until(lambda: place.engine.started, 60, "the first query runs")
    waiting = [place.ask(), place.ask()]
    with pytest.raises(BusyError):
        place.ask()
    assert len(place.service.jobs(ANNE)) == 3
    other = place.ask(BOB, sql="SELECT 1 FROM reports")
    wait_until(lambda: len(place.engine.started) == 2, 60, "the other tenant's query runs beside it")
    assert place.engine.started[1][0] == other.id
    assert [place.service.job(ANNE, job.id).state for job in waiting] == [State.QUEUED, State.QUEUED]
    place.engine.gate.set()
    assert {place.ended(job).state for job in (running, *waiting)} == {State.DONE}


def test_a_waiting_query_is_cancelled_without_running(place: Place) -> None:
    place.engine.gate.clear()
    running, waiting = place.ask(), place.ask()
    wait_until(lambda: place.engine.started, 60, "the first query runs")
    assert place.service.cancel(ANNE, waiting.id).state is State.CANCELED
    place.engine.gate.set()
    place.ended(running)
    assert [started[0] for started in place.engine.started] == [running.id]


def test_a_running_query_is_cancelled_in_the_engine(place: Place) -> None:
    place.engine.gate.clear()
    job = place.ask()
    wait_until(lambda: place.engine.started, 60, "the query runs")
    assert place.service.cancel(ANNE, job.id).state is State.CANCELED
    assert place.engine.cancelled == [job.id]
    with pytest.raises(NotReadyError, match="canceled"):
        place.service.page(ANNE, job.id, 0, 10)
    assert place.service.cancel(ANNE, job.id).state is State.CANCELED
    place.engine.gate.set()
    assert place.ended(place.ask()).state is State.DONE


def test_a_query_over_its_time_is_ended_in_the_engine(tmp_path: Path) -> None:
    place = Place(tmp_path, timeout_seconds=0.2)
    place.engine.gate.clear()
    job = place.ended(place.ask())
    assert (job.state, job.code) == (State.FAILED, "TIMEOUT")
    assert "0.2 s" in str(job.error)
    wait_until(lambda: place.engine.cancelled == [job.id], 60, "the engine was told")
    place.service.stop()


def test_a_failure_of_the_engine_is_told_and_the_next_query_runs(place: Place) -> None:
    place.engine.problem = FailedError("DIVIDE_BY_ZERO: no")
    job = place.ended(place.ask())
    assert (job.state, job.error) == (State.FAILED, "DIVIDE_BY_ZERO: no")
    with pytest.raises(NotReadyError):
        place.service.page(ANNE, job.id, 0, 10)
    place.engine.problem = ValueError("a secret of ours")
    job = place.ended(place.ask())
    assert "secret" not in str(job.error)
    assert "reference" in str(job.error)
    place.engine.problem = None
    assert place.ended(place.ask()).state is State.DONE


def test_a_result_is_cut_off_at_its_limit(tmp_path: Path) -> None:
    place = Place(tmp_path, max_result_rows=2)
    job = place.ended(place.ask())
    assert (job.rows, job.truncated) == (2, True)
    place.service.stop()


def test_after_a_restart_results_are_there_and_what_had_not_ended_is_lost(place: Place) -> None:
    done = place.ended(place.ask())
    place.engine.gate.clear()
    running, waiting = place.ask(), place.ask()
    wait_until(lambda: len(place.engine.started) == 2, 60, "the second query runs")
    place.restart()
    for job in (running, waiting):
        found = place.service.job(ANNE, job.id)
        assert (found.state, found.code) == (State.LOST, "LOST")
        assert "ask again" in str(found.error)
    assert place.service.page(ANNE, done.id, 0, 10).table.num_rows == 3
    assert running.id in place.engine.cancelled
    place.engine.gate.set()
    assert place.ended(place.ask()).state is State.DONE


def test_a_result_expires_and_its_file_goes(place: Place) -> None:
    job = place.ended(place.ask())
    files = list(Path(place.settings.results).glob("*.arrow"))
    assert len(files) == 1
    place.pass_time(59)
    place.service.sweep()
    assert place.service.job(ANNE, job.id).state is State.DONE
    place.pass_time(2)
    place.service.sweep()
    assert place.service.job(ANNE, job.id).state is State.EXPIRED
    assert not files[0].exists()
    with pytest.raises(GoneError):
        place.service.page(ANNE, job.id, 0, 10)
    place.pass_time(8 * 86_400)
    place.service.sweep()
    assert place.service.jobs(ANNE) == []


def test_a_tenant_keeps_so_many_results_and_the_oldest_goes_first(place: Place) -> None:
    jobs = []
    for _ in range(5):
        jobs.append(place.ended(place.ask()))
        place.pass_time(1)
    wait_until(lambda: len(list(Path(place.settings.results).glob("*.arrow"))) == 3, 60, "two results have gone")
    states = [place.service.job(ANNE, job.id).state for job in jobs]
    assert states == [State.EXPIRED] * 2 + [State.DONE] * 3


def test_cancelling_a_finished_query_removes_its_result(place: Place) -> None:
    job = place.ended(place.ask())
    assert place.service.cancel(ANNE, job.id).state is State.EXPIRED
    assert list(Path(place.settings.results).glob("*.arrow")) == []


def test_what_became_of_queries_is_counted(place: Place) -> None:
    place.ended(place.ask())
    with pytest.raises(RefusedError):
        place.ask(sql="SELECT uuid()")
    value = place.metrics.registry.get_sample_value
    wait_until(lambda: value("millrace_query_jobs_total", {"state": "done"}) == 1, 60, "the end is counted")
    assert value("millrace_query_refused_total", {"code": "SQL_REFUSED"}) == 1
    assert value("millrace_query_rows_read_total") == 42
