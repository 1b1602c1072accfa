"""Several connections at once that still keep the order of what belongs to one payment: one payment, one lane, one sender."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable

from millrace_stack.load.client import Line

Send = Callable[[int, list[Line]], None]
"""Called with the lane's number and up to ``batch`` lines, from that lane's thread."""


class Lanes:
    """Threads that send. ``put`` blocks while a lane is full, so that memory stays bounded.

    The first error of a sender stops everything and is raised by the next ``put`` or by ``drain``.
    """

    def __init__(self, send: Send, count: int, batch: int, stopped: threading.Event) -> None:
        self._send, self._batch, self._stopped = send, batch, stopped
        self._queues: list[queue.Queue[Line | None]] = [queue.Queue(batch * 3) for _ in range(count)]
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, args=(lane,), name=f"lane-{lane}", daemon=True) for lane in range(count)]
        for thread in self._threads:
            thread.start()

    def put(self, line: Line) -> bool:
        """Queue a line behind the earlier ones of its payment; False when everything is being stopped."""
        key = line.get("paymentId") or line["id"]
        return self._put(zlib.crc32(str(key).encode()) % len(self._queues), line)

    def drain(self) -> None:
        """Wait until everything queued is sent, then end the threads."""
        for lane in range(len(self._queues)):
            self._put(lane, None)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.2)
        self._raise()

    def _put(self, lane: int, line: Line | None) -> bool:
        while not self._stopped.is_set():
            self._raise()
            try:
                self._queues[lane].put(line, timeout=0.2)
            except queue.Full:
                continue
            return True
        self._raise()
        return False

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self, lane: int) -> None:
        try:
            while (batch := self._take(lane)) is not None:
                self._send(lane, batch)
        except BaseException as error:
            self._error = self._error or error
            self._stopped.set()

    def _take(self, lane: int) -> list[Line] | None:
        """The next lines of a lane; None when there will be no more."""
        waiting = self._queues[lane]
        batch: list[Line] = []
        while not self._stopped.is_set():
            try:
                line = waiting.get(timeout=0.2) if not batch else waiting.get_nowait()
            except queue.Empty:
                if batch:
                    return batch
                continue
            if line is None:
                if batch:
                    waiting.put(None)
                return batch or None
            batch.append(line)
            if len(batch) == self._batch:
                return batch
        return None
