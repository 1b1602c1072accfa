"""The unit that travels from a source to the sink: what one reply of MongoDB becomes, with the progress that covers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from millrace_cdc.audit import Counts

Message = tuple[bytes | None, bytes]
"""Key and value."""


@dataclass
class Portion:
    """Messages and the progress records that are true once they are committed, in one transaction (I2)."""

    events: list[Message] = field(default_factory=list)
    dead_letters: list[Message] = field(default_factory=list)
    audits: list[Message] = field(default_factory=list)
    counts: Counts = field(default_factory=dict)
    """Events by window, for the audit topic."""
    progress: dict[str, bytes | None] = field(default_factory=dict)
    """Key -> value of the progress topic; None removes it; a later portion of a transaction replaces an earlier one's."""
    through_ms: int | None = None
    """Cluster time up to which every change stands in this portion or before it; becomes the low-water markers."""
    cluster_seconds: int | None = None
    """Second of the last position, for the lag."""

    @property
    def count(self) -> int:
        """Messages that are not bookkeeping."""
        return len(self.events) + len(self.dead_letters)

    @property
    def bytes(self) -> int:
        """Bytes of the event values."""
        return sum(len(value) for _, value in self.events)


class Source(Protocol):
    """Where portions come from: the change stream, a snapshot."""

    @property
    def finished(self) -> bool:
        """Nothing will come any more."""

    @property
    def backlog(self) -> bool:
        """Whether more waits already."""

    def take(self, seconds: float) -> Portion | None:
        """The next portion, or None when none came within the time.

        Raises:
            SourceLost: MongoDB is away; the committed position is where to go on.
            RelayError: the source can not go on.
        """

    def close(self) -> None:
        """Stop reading; safe to repeat."""


class Sink(Protocol):
    """Where portions go: Kafka, in transactions."""

    def begin(self) -> None:
        """Open a transaction."""

    def produce(self, portion: Portion) -> None:
        """Put events, dead letters and audits of a portion into the open transaction; raises as ``commit`` does."""

    def commit(self, progress: Mapping[str, bytes | None], marker: bytes | None, audit: bytes | None = None) -> None:
        """Add the progress records, the marker (to every partition) and the audit record, and commit.

        Raises:
            TransactionAborted: nothing of it is visible.
            RelayError: fenced, fatal, or away for too long.
        """
