"""Closes a gap: reads the source at one cluster time, sends again what the topic lacks (op r) and what it has too much (op d)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from millrace_cdc.audit import count
from millrace_cdc.events import EventForm
from millrace_cdc.gaps import Captured
from millrace_cdc.mongo import now_ms
from millrace_cdc.portions import Portion
from millrace_cdc.snapshot import Time
from millrace_cdc.snapshot_source import SnapshotSource
from millrace_contracts.changes import OP_DELETE

KEYS_AT_ONCE = 1000


class ReconcileSource:
    """A ``Source``: a snapshot whose encoder leaves out what the topic has already, then the deletions, then the end of the gap."""

    def __init__(
        self,
        reads: SnapshotSource,
        captured: Captured,
        form: EventForm,
        at: Time,
        mine: Callable[[Sequence[bytes]], list[bytes]],
        finish: Callable[[int, int], Portion],
    ) -> None:
        """``mine`` keeps the keys of this stream; ``finish`` is given the numbers of repeated and removed documents."""
        self._reads = reads
        self._captured = captured
        self._form = form
        self._at = at
        self._mine = mine
        self._finish = finish
        self._unseen: Iterator[list[tuple[bytes, bytes]]] | None = None
        self._repeated = self._removed = 0
        self.finished = False

    @property
    def backlog(self) -> bool:
        """More is to be expected until it is finished."""
        return not self.finished

    def take(self, seconds: float) -> Portion | None:
        """Reads first, then deletions, then the end."""
        if not self._reads.finished:
            portion = self._reads.take(seconds)
            self._repeated += len(portion.events) if portion else 0
            return portion
        if self._unseen is None:
            self._unseen = self._captured.unseen(KEYS_AT_ONCE)
        gone = next(self._unseen, None)
        if gone is not None:
            return self._deletions(gone)
        self.finished = True
        return self._finish(self._repeated, self._removed)

    def _deletions(self, gone: list[tuple[bytes, bytes]]) -> Portion:
        made, read_ms = Portion(), now_ms()
        mine = set(self._mine([key for key, _ in gone]))
        for key, other_id in gone:
            if key in mine:
                made.events.append((key, self._form.gone(other_id, self._at, read_ms)))
                count(made.counts, OP_DELETE, None)
        self._removed += len(made.events)
        return made

    def close(self) -> None:
        """Stop to read, remove what is on disk."""
        self._reads.close()
        self._captured.close()
