"""The estimate of events that wait, from the server's count of writes."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry

from millrace_cdc.oplog import EventsWaiting
from millrace_cdc.pump import Committed
from millrace_cdc.state import RelayState


def test_nothing_is_said_before_two_samples() -> None:
    waiting = EventsWaiting()
    assert waiting.estimate(100, 0) is None
    waiting.sample(100, 1000)
    assert waiting.estimate(100, 0) is None
    waiting.sample(110, 1500)
    assert waiting.estimate(100, 0) == 500


def test_writes_between_two_samples_are_spread_evenly_and_before_the_first_at_the_rate_since_then() -> None:
    waiting = EventsWaiting()
    waiting.sample(100, 1000)
    waiting.sample(110, 1500)
    assert waiting.estimate(104, 0) == 300
    assert waiting.estimate(90, 0) == 1000, "50 a second for 20 seconds"
    assert waiting.estimate(200, 0) == 0


def test_writes_of_other_collections_are_left_out_once_the_stream_has_shown_its_share() -> None:
    waiting = EventsWaiting()
    waiting.sample(100, 0)
    waiting.sample(110, 1000)
    waiting.estimate(100, 0)
    # Behind 600 more writes the stream has made 200 events: one write in three is its own.
    assert waiting.estimate(106, 200) == pytest.approx((1000 - 600) / 3)


def test_a_server_that_was_started_again_counts_from_the_beginning() -> None:
    waiting = EventsWaiting()
    waiting.sample(100, 90_000)
    waiting.sample(110, 91_000)
    waiting.estimate(105, 0)
    waiting.sample(120, 10)
    assert waiting.estimate(115, 0) is None
    waiting.sample(130, 510)
    assert waiting.estimate(125, 0) == 250


def committed(events: int, *, caught_up: bool) -> Committed:
    return Committed(events, 0, 0, 0.1, {}, 1_000, caught_up)


def test_the_metric_is_unknown_then_an_estimate_then_zero_when_nothing_waits() -> None:
    registry = CollectorRegistry()
    state = RelayState(registry, "payments", 0)
    labels = {"collection": "payments", "stream": "0"}

    def shown() -> float:
        found = registry.get_sample_value("millrace_relay_lag_events", labels)
        assert found is not None
        return found

    state.enter("streaming")
    assert math.isnan(shown())
    state.committed(committed(5, caught_up=False))
    state.waiting(41.7)
    assert (shown(), state.committed_events, state.readiness()[1]["lag_events"]) == (42, 5, 42)
    state.committed(committed(3, caught_up=True))
    assert (shown(), state.committed_events) == (0, 8)
