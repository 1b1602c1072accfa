"""What is set aside is not walked again, and what is left in cycles is freed all the same."""

import gc
import weakref

from millrace_graphql.garbage import FULL_EVERY, short_pauses


class Node:
    def __init__(self) -> None:
        self.other: Node | None = None


def cycle() -> "weakref.ref[Node]":
    one, two = Node(), Node()
    one.other, two.other = two, one
    return weakref.ref(one)


def test_a_full_collection_walks_only_what_is_new() -> None:
    with short_pauses():
        aside = gc.get_freeze_count()
        assert aside > 1_000
        held = [Node() for _ in range(500)]
        gc.collect()
        assert gc.get_freeze_count() >= aside + 500, "what survives is set aside too"
        assert len(gc.get_objects()) < aside
        del held
    assert gc.get_freeze_count() == 0


def test_new_cycles_are_freed_at_once_and_old_ones_in_the_end() -> None:
    with short_pauses():
        young = cycle()
        gc.collect()
        assert young() is None
        one, two = Node(), Node()
        one.other, two.other = two, one
        old = weakref.ref(one)
        gc.collect()  # both survive and are set aside
        del one, two
        for _ in range(FULL_EVERY + 1):
            gc.collect()
        assert old() is None
