"""A changed number of streams: from the old positions to the new ones."""

from __future__ import annotations

import json

import pytest

from millrace_cdc.errors import Misconfigured
from millrace_cdc.progress import Position, position_key
from millrace_cdc.topology import migrated, positions

OLD, NEW = "826B06E67100000001AA", "826B06E67200000001AA"


def stored(*found: Position) -> dict[str, dict[str, object]]:
    return {position_key("d.c", each.stream): json.loads(each.encode(0)) for each in found}


def test_new_streams_start_at_the_lowest_position_and_know_what_was_written() -> None:  # I2, I3
    old = [Position(0, 2, "f", 4, NEW), Position(1, 2, "f", 4, OLD)]
    assert migrated(old, 3, "g", 8) == [Position(stream, 3, "g", 8, None, (0x6B06E671, 1), already=(NEW, OLD)) for stream in range(3)]


def test_a_stream_that_has_written_nothing_is_the_lowest() -> None:
    old = [Position(0, 2, "f", 4, NEW), Position(1, 2, "f", 4, None, (0x6B06E670, 1))]
    (made,) = migrated(old, 1, "f", 4)
    assert (made.token, made.at, made.already) == (None, (0x6B06E670, 1), (NEW, ""))


def test_the_same_number_keeps_every_position() -> None:
    old = [Position(0, 2, "f", 4, NEW), Position(1, 2, "f", 4, OLD)]
    assert migrated(old, 2, "f", 8) == [Position(0, 2, "f", 8, NEW), Position(1, 2, "f", 8, OLD)]


def test_another_pipeline_starts_at_a_time_because_it_may_not_see_the_tokens_event() -> None:
    """Complaint 13 (peerdb#3246): token valid but changed $match hides it."""
    assert migrated([Position(0, 1, "f", 4, NEW)], 1, "g", 4) == [Position(0, 1, "g", 4, None, (0x6B06E672, 1), already=(NEW,))]


def test_a_change_is_caught_up_with_before_the_next() -> None:
    with pytest.raises(Misconfigured, match="not caught up"):
        migrated([Position(0, 1, "f", 4, NEW, already=(NEW,))], 2, "f", 4)


def test_positions_are_found_in_order() -> None:
    found = [Position(0, 2, "f", 4, NEW), Position(1, 2, "f", 4, OLD)]
    assert positions("d.c", stored(*reversed(found))) == found
    assert positions("d.other", stored(*found)) == []


def test_a_missing_stream_is_refused() -> None:
    with pytest.raises(Misconfigured, match="1 of 2 streams"):
        positions("d.c", stored(Position(1, 2, "f", 4, OLD)))
