"""Waiting for a server that is away: which errors are waited through, for how long, and what is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from millrace_runtime.waiting import GrowingPause, reason_of, until_answered


class StayedAwayError(Exception):
    pass


class Server:
    """Refuses so many times, then answers."""

    def __init__(self, refusals: int, error: Exception | None = None) -> None:
        self.refusals, self.error = refusals, error or ConnectionError("refused, Timeout: 5s, Topology: …\nmore")

    def ask(self) -> str:
        self.refusals -= 1
        if self.refusals >= 0:
            raise self.error
        return "answer"


@given(refusals=st.integers(0, 20))
def test_it_asks_until_it_is_answered_and_says_each_time_for_whom_it_waits(refusals: int) -> None:
    pauses: list[float] = []
    with capture_logs() as logs:
        said = until_answered("Kafka at k:1", Server(refusals).ask, (ConnectionError,), 3600, StayedAwayError, sleep=pauses.append)
    assert (said, len(pauses)) == ("answer", refusals)
    assert [(line["server"], line["reason"]) for line in logs] == [("Kafka at k:1", "refused")] * refusals
    assert all(pause <= 10 * 1.25 for pause in pauses)


def test_after_its_time_it_gives_up_with_the_server_the_reason_and_the_fix() -> None:
    with pytest.raises(StayedAwayError, match=r"^Kafka at k:1 does not answer \(refused\); is the stack up\?$"):
        until_answered("Kafka at k:1", Server(10**9).ask, (ConnectionError,), 0.0, StayedAwayError)
    with pytest.raises(StayedAwayError, match="does not answer"):
        until_answered("Kafka at k:1", Server(10**9).ask, (ConnectionError,), 0.05, StayedAwayError, GrowingPause(0.01, 0.02))


def test_another_error_is_not_waited_through() -> None:
    with pytest.raises(ValueError, match="a bad setting"):
        until_answered("Kafka", Server(1, ValueError("a bad setting")).ask, (ConnectionError,), 3600, StayedAwayError)


@given(first=st.floats(0.01, 5), factor=st.floats(1, 100), tries=st.integers(1, 30))
def test_a_pause_doubles_up_to_the_longest_spread_by_a_quarter_and_begins_anew_after_a_success(
    first: float, factor: float, tries: int
) -> None:
    pauses = GrowingPause(first, first * factor)
    for number in range(tries):
        expected = min(first * 2**number, first * factor)
        assert expected * 0.75 <= pauses.next() <= expected * 1.25
    pauses.reset()
    assert first * 0.75 <= pauses.next() <= first * 1.25


def test_an_error_without_words_is_told_by_its_kind() -> None:
    assert reason_of(TimeoutError()) == "TimeoutError"
