"""Completeness out of low-water markers (I13)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace_processors.progress import LowWater, Mark


def test_nothing_is_complete_before_every_partition_has_spoken() -> None:
    low = LowWater(partitions=2)
    assert low.advance([Mark(0, 0, 1, 5_000)]) is None
    assert low.advance([Mark(1, 0, 1, 3_000)]) == 3_000
    assert low.advance([Mark(1, 0, 1, 9_000)]) == 5_000


def test_nothing_is_complete_before_every_stream_has_spoken() -> None:
    low = LowWater(partitions=1)
    assert low.advance([Mark(0, 0, 2, 5_000)]) is None
    assert low.advance([Mark(0, 1, 2, 4_000)]) == 4_000


def test_after_a_change_of_streams_each_new_one_speaks_before_it_goes_on_and_it_never_goes_back() -> None:
    low = LowWater(partitions=1)
    assert low.advance([Mark(0, 0, 1, 7_000)]) == 7_000
    assert low.advance([Mark(0, 0, 2, 8_000)]) == 7_000
    assert low.advance([Mark(0, 1, 2, 6_000)]) == 7_000
    assert low.advance([Mark(0, 1, 2, 9_000)]) == 8_000


def test_golden_text_of_what_a_driver_leaves_to_its_successor() -> None:
    low = LowWater(partitions=2)
    low.advance([Mark(1, 0, 1, 9_000), Mark(0, 0, 1, 8_000)])
    text = '{"partitions": {"0": {"streams": 1, "through": {"0": 8000}}, "1": {"streams": 1, "through": {"0": 9000}}}}'
    assert low.to_json() == text
    assert LowWater.from_json(text, 2, 8_000).advance([Mark(0, 0, 1, 9_500)]) == 9_000


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100)), max_size=30), st.integers(0, 30))
def test_a_restart_anywhere_says_the_same_as_no_restart(told: list[tuple[int, int]], restart: int) -> None:
    marks = [Mark(partition, 0, 1, through) for partition, through in told]
    whole, split = LowWater(partitions=3), LowWater(partitions=3)
    for index, mark in enumerate(marks):
        if index == restart:
            split = LowWater.from_json(split.to_json(), 3, split.complete_through_ms)
        assert whole.advance([mark]) == split.advance([mark])
