"""The queue bounded in bytes."""

from __future__ import annotations

import threading

import pytest

from millrace_cdc.byte_queue import ByteQueue, Closed


def test_items_come_in_order() -> None:
    queue: ByteQueue[str] = ByteQueue(10)
    queue.put("a", 4)
    queue.put("b", 4)
    assert (queue.get(1), queue.get(1), queue.get(0.01)) == ("a", "b", None)


def test_a_writer_waits_for_room_in_bytes() -> None:
    queue: ByteQueue[str] = ByteQueue(10)
    queue.put("a", 8)
    done = threading.Event()

    def write() -> None:
        queue.put("b", 8)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not done.wait(0.05)
    assert queue.bytes == 8
    assert queue.get(1) == "a"
    assert done.wait(60)
    writer.join()


def test_an_item_over_the_bound_passes_an_empty_queue() -> None:
    queue: ByteQueue[str] = ByteQueue(10)
    queue.put("large", 100)
    assert queue.get(1) == "large"


def test_closing_lets_a_waiting_writer_go() -> None:
    queue: ByteQueue[str] = ByteQueue(10)
    queue.put("a", 10)
    ended = threading.Event()

    def write() -> None:
        with pytest.raises(Closed):
            queue.put("b", 1)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    queue.close()
    assert ended.wait(60)
    writer.join()
