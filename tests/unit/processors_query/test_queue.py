"""Turns between tenants."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_processors.query.errors import BusyError
from millrace_processors.query.queue import Bounds, FairQueue


def queue(running: int = 1, queued: int = 10, together: int = 100) -> FairQueue:
    return FairQueue(Bounds(running, queued, together))


def test_tenants_take_turns_however_many_jobs_one_of_them_has() -> None:
    line = queue(running=9)
    for job in ("a1", "a2", "a3"):
        line.add("a", job)
    line.add("b", "b1")
    line.add("c", "c1")
    assert [line.take() for _ in range(5)] == [("a", "a1"), ("b", "b1"), ("c", "c1"), ("a", "a2"), ("a", "a3")]


def test_a_tenant_at_its_limit_is_passed_over_until_one_of_its_jobs_is_done() -> None:
    line = queue(running=1)
    line.add("a", "a1")
    line.add("a", "a2")
    line.add("b", "b1")
    assert line.take() == ("a", "a1")
    assert line.take() == ("b", "b1")
    line.done("a")
    assert line.take() == ("a", "a2")


def test_a_full_line_is_refused_with_the_time_to_wait() -> None:
    line = queue(queued=2)
    line.add("a", "a1")
    line.add("a", "a2")
    with pytest.raises(BusyError) as found:
        line.add("a", "a3")
    assert found.value.data["retryAfter"] > 0
    line.add("b", "b1")
    assert len(line) == 3


def test_all_lines_together_are_bounded_too() -> None:
    line = queue(together=2)
    line.add("a", "a1")
    line.add("b", "b1")
    with pytest.raises(BusyError):
        line.add("c", "c1")


def test_a_waiting_job_is_taken_out_once() -> None:
    line = queue()
    line.add("a", "a1")
    line.add("a", "a2")
    assert line.remove("a", "a1")
    assert not line.remove("a", "a1")
    assert not line.remove("b", "b1")
    assert line.take() == ("a", "a2")


def test_a_closed_queue_lets_those_who_wait_go() -> None:
    line = queue()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(line.take()))
    thread.start()
    line.close()
    thread.join(60)
    assert found == [None]


@given(st.lists(st.sampled_from("abcd"), max_size=40))
def test_no_tenant_waits_for_more_than_one_job_of_each_other_tenant(tenants: list[str]) -> None:
    line = queue(running=100, queued=100)
    for number, tenant in enumerate(tenants):
        line.add(tenant, f"{tenant}{number}")
    taken = [line.take() for _ in tenants]
    order = [each[0] for each in taken if each]
    for tenant in set(tenants):
        places = [place for place, each in enumerate(order) if each == tenant]
        for before, after in itertools.pairwise(places):
            between = order[before + 1 : after]
            assert len(between) == len(set(between))
    assert sorted(each[1] for each in taken if each) == sorted(f"{tenant}{number}" for number, tenant in enumerate(tenants))


def test_a_held_tenant_is_passed_over_for_its_time_and_what_it_waits_for_is_kept() -> None:
    now = [0.0]
    line = FairQueue(Bounds(1, 2, 100), lambda: now[0])
    line.hold("a", 10)
    line.add("a", "a1")
    line.add("b", "b1")
    assert line.take() == ("b", "b1")
    assert len(line) == 1
    now[0] = 10
    assert line.take() == ("a", "a1")


def test_a_job_that_waits_for_the_end_of_its_tenants_hold_is_taken_without_another_event() -> None:
    line = queue()
    line.add("a", "a1")
    line.hold("a", 0.05)
    assert line.take() == ("a", "a1")


def test_what_is_put_back_is_refused_by_no_bound() -> None:
    line = queue(queued=1, together=1)
    line.add("a", "a1")
    line.restore("a", "a2")
    line.restore("b", "b1")
    assert len(line) == 3
