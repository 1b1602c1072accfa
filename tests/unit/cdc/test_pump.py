"""The loop: when transactions begin and end, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from millrace_cdc.errors import RelayError, SourceLost, TransactionAborted
from millrace_cdc.portions import Portion
from millrace_cdc.pump import Committed, Pace, Pump
from millrace_runtime.stopping import StopSignal

PACE = Pace(events=10, backlog_seconds=0.15, linger_seconds=0.005, idle_seconds=1.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeSource:
    """Hands out a script: portions, errors to raise, or None for a wait that ends without one."""

    def __init__(self, clock: Clock, script: list[Portion | Exception | None], stop: StopSignal, *, waiting: bool = False) -> None:
        self._clock, self._script, self._stop, self._waiting = clock, script, stop, waiting

    @property
    def finished(self) -> bool:
        return False

    @property
    def backlog(self) -> bool:
        return self._waiting and bool(self._script)

    def take(self, seconds: float) -> Portion | None:
        if not self._script:
            self._stop.set()
            return None
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        if step is None:
            self._clock.now += seconds
        return step

    def close(self) -> None:
        pass


class FakeSink:
    def __init__(self) -> None:
        self.open: list[Portion] | None = None
        self.committed: list[tuple[int, dict[str, bytes | None], bytes | None]] = []
        self.fail: Exception | None = None

    def begin(self) -> None:
        assert self.open is None
        self.open = []

    def produce(self, portion: Portion) -> None:
        assert self.open is not None
        self.open.append(portion)

    def commit(self, progress: Mapping[str, bytes | None], marker: bytes | None, audit: bytes | None = None) -> None:
        assert self.open is not None
        if self.fail:
            raise self.fail
        self.committed.append((sum(portion.count for portion in self.open), dict(progress), marker))
        self.open = None

    def abort(self) -> None:
        self.open = None


def portion(events: int, token: str = "t", through: int | None = None) -> Portion:
    return Portion([(b"k", b"v")] * events, progress={"stream": token.encode()}, through_ms=through)


def pumped(script: list[Portion | Exception | None], *, waiting: bool = False, sink: FakeSink | None = None) -> FakeSink:
    clock, stop, used = Clock(), StopSignal(), sink or FakeSink()
    seen: list[Committed] = []
    pump = Pump(used, PACE, stop, seen.append, lambda: None, lambda through: str(through).encode(), lambda counts: b"counts", clock)
    try:
        pump.run(FakeSource(clock, script, stop, waiting=waiting))
    finally:
        assert [done.events + done.dead_letters for done in seen] == [count for count, _, _ in used.committed]
    return used


def test_events_and_their_token_are_in_one_transaction() -> None:  # I2
    assert pumped([portion(3, "a", 1999), None]).committed == [(3, {"stream": b"a"}, b"1999")]


def test_a_transaction_is_prompt_while_nothing_waits() -> None:
    assert [count for count, _, _ in pumped([portion(1, "a"), None, portion(1, "b"), None]).committed] == [1, 1]


def test_a_backlog_fills_transactions() -> None:
    assert pumped([portion(4, name) for name in "abcdef"], waiting=True).committed == [
        (12, {"stream": b"c"}, None),
        (12, {"stream": b"f"}, None),
    ]


def test_a_backlog_that_does_not_come_is_not_waited_for_longer_than_the_setting() -> None:
    assert pumped([portion(4, "a"), None, portion(4, "b")], waiting=True).committed[0] == (4, {"stream": b"a"}, None)


def test_an_idle_stream_records_its_token_at_the_idle_pace() -> None:
    assert pumped([portion(0, "a", 999), portion(0, "b", 1999), None]).committed == [(0, {"stream": b"b"}, b"1999")]


def test_nothing_new_makes_no_transaction() -> None:
    assert pumped([None, None]).committed == []


def test_a_stop_commits_what_is_in_hand() -> None:
    assert pumped([portion(2, "a")]).committed == [(2, {"stream": b"a"}, None)]


@pytest.mark.parametrize("error", [SourceLost("away"), RelayError("for good")])
def test_what_came_before_an_error_of_the_source_is_committed(error: Exception) -> None:
    sink = FakeSink()
    with pytest.raises(type(error)):
        pumped([portion(2, "a"), error], sink=sink)
    assert sink.committed == [(2, {"stream": b"a"}, None)]


def test_an_aborted_transaction_is_not_reported() -> None:
    sink = FakeSink()
    sink.fail = TransactionAborted("broker says so")
    with pytest.raises(TransactionAborted):
        pumped([portion(2, "a"), None], sink=sink)
    assert sink.committed == []


def test_dead_letters_count_like_events() -> None:  # I4
    dead = Portion(dead_letters=[(b"k", b"v")], progress={"stream": b"a"})
    assert pumped([dead, None]).committed == [(1, {"stream": b"a"}, None)]
