"""When a failure is restarted."""

from __future__ import annotations

from millrace_cdc.connect.status import Row
from millrace_cdc.connect.watchdog import Decision, Watchdog

TASK = ("c", 0)


def look(dog: Watchdog, state: str, now: float, offset: str | None = None) -> Decision:
    rows = [Row("c", None, "RUNNING", "w", ""), Row("c", 0, state, "w", "why" if state == "FAILED" else "")]
    return dog.look(rows, now, {} if offset is None else {"c": offset})


def test_a_first_failure_is_named_and_restarted_at_once() -> None:
    decision = look(Watchdog(), "FAILED", 100.0)
    assert [(failure.part, failure.trouble, failure.failures, failure.restart_in) for failure in decision.failed] == [(TASK, "why", 1, 0.0)]
    assert decision.restart == [TASK]


def test_a_failure_that_comes_back_waits_twice_as_long_each_time_up_to_five_minutes() -> None:
    dog, now, waits = Watchdog(), 0.0, []
    for _ in range(12):
        decision = look(dog, "FAILED", now)
        wait = decision.failed[0].restart_in
        waits.append(wait)
        if wait:
            assert look(dog, "FAILED", now + wait - 0.1).restart == []
            assert look(dog, "FAILED", now + wait).restart == [TASK]
        now += wait + 4.0
    assert waits == [0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_the_state_from_before_a_restart_is_not_a_new_failure() -> None:
    dog = Watchdog()
    look(dog, "FAILED", 0.0)
    assert look(dog, "FAILED", 1.0) == Decision([], [], [])


def test_a_recovery_is_told_and_a_relapse_is_a_second_failure() -> None:
    dog = Watchdog()
    look(dog, "FAILED", 0.0)
    assert look(dog, "RESTARTING", 1.0) == Decision([], [], [])
    assert look(dog, "RUNNING", 2.0).recovered == [TASK]
    assert dog.down == []
    relapse = look(dog, "FAILED", 3.0)
    assert (relapse.failed[0].failures, relapse.restart) == (2, [])


def test_ten_minutes_without_a_failure_are_a_new_beginning() -> None:
    dog = Watchdog()
    look(dog, "FAILED", 0.0)
    look(dog, "RUNNING", 2.0)
    look(dog, "RUNNING", 602.0)
    assert look(dog, "FAILED", 603.0).failed[0].failures == 1


def test_a_connector_that_is_gone_is_forgotten_and_a_paused_one_left_alone() -> None:
    dog = Watchdog()
    look(dog, "FAILED", 0.0)
    dog.look([], 1.0)
    assert dog.down == []
    assert look(dog, "PAUSED", 2.0) == Decision([], [], [])


def test_a_failure_at_the_same_offset_again_is_told_from_one_that_passes() -> None:
    dog = Watchdog()
    assert not look(dog, "FAILED", 0.0, "7").failed[0].stuck, "the first one says nothing"
    look(dog, "RUNNING", 2.0)
    assert look(dog, "FAILED", 10.0, "7").failed[0].stuck
    assert dog.stuck == [TASK]
    look(dog, "RUNNING", 20.0)
    assert dog.stuck == [], "a restart may have helped"
    assert look(dog, "FAILED", 30.0, "7").failed[0].stuck
    look(dog, "RUNNING", 40.0)
    assert not look(dog, "FAILED", 50.0, "9").failed[0].stuck, "it has come further"
    assert dog.stuck == []


def test_an_offset_that_is_not_known_is_not_the_same() -> None:
    dog = Watchdog()
    look(dog, "FAILED", 0.0)
    look(dog, "RUNNING", 2.0)
    assert not look(dog, "FAILED", 10.0).failed[0].stuck
    look(dog, "RUNNING", 12.0)
    assert not look(dog, "FAILED", 20.0, "7").failed[0].stuck
