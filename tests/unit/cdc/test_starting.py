"""Positions at a point that an operator names, and behind one change."""

from __future__ import annotations

from millrace_cdc.capture import Capture
from millrace_cdc.progress import Position
from millrace_cdc.projection import Share
from millrace_cdc.replay.history import Place
from millrace_cdc.sink import Topics
from millrace_cdc.starting import started

CAPTURE = Capture("d", "payments", Share(), ("amount",), "f1", Topics("c", 6, "p", "l", "a"), 1000)


def test_every_stream_opens_at_the_time_of_the_token_and_leaves_out_what_is_not_behind_it() -> None:
    made = started(CAPTURE, 2, Place((7, 3), "82AB", "words"))
    assert made == [Position(stream, 2, "f1", 6, None, (7, 3), already=("82AB",)) for stream in (0, 1)]


def test_at_a_time_nothing_is_left_out() -> None:
    assert started(CAPTURE, 1, Place((7, 0), None, "words")) == [Position(0, 1, "f1", 6, None, (7, 0))]


def test_behind_a_change_an_earlier_topology_counts_until_the_stream_is_past_all_of_it() -> None:
    catching_up = Position(1, 3, "f1", 6, None, (7, 3), already=("82AA", "82CC"))
    assert catching_up.behind("82BB") == Position(1, 3, "f1", 6, "82BB", already=("82AA", "82CC"))
    assert catching_up.behind("82CC") == Position(1, 3, "f1", 6, "82CC")
    assert catching_up.behind("82DD", start_after=True) == Position(1, 3, "f1", 6, "82DD", start_after=True)
