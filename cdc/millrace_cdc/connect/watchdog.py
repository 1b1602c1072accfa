"""Which failed connectors and tasks to restart, and when. Pure: it is given what was seen and the time.

A part that fails again at the offset of its last failure is stuck: what stands there has to be looked at, a restart alone does not help.
A failure is restarted at once the first time, then after 2, 4, 8 … seconds, at most every five minutes; one that has run for ten
minutes without a failure counts as new again. So a passing trouble is mended within seconds and a lasting one does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace_cdc.connect.models import FAILED
from millrace_cdc.connect.status import Row

FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 300.0
FORGIVEN_AFTER = 600.0
GRACE = 3.0
"""So long after a restart the cluster may still tell the failure from before it."""

Part = tuple[str, int | None]
"""(connector, task); task None is the connector itself."""


@dataclass
class _Record:
    failures: int = 0
    restart_at: float = 0.0
    down: bool = False
    restarted_at: float | None = None
    up_since: float = 0.0
    offset: str | None = None
    stuck: bool = False


@dataclass(frozen=True)
class Failure:
    """A part that failed since it was last looked at."""

    part: Part
    trouble: str
    failures: int
    """How often it has failed within its memory, this time included."""
    restart_in: float
    """Seconds until it is restarted."""
    stuck: bool = False
    """Whether it has failed at the offset of its last failure; false where the offset is not known."""


@dataclass(frozen=True)
class Decision:
    """What a look at the cluster leads to."""

    failed: list[Failure]
    """New failures, to be told."""
    restart: list[Part]
    """To be restarted now."""
    recovered: list[Part]
    """Run again after a failure."""


class Watchdog:
    """Remembers failures between looks; ``failing`` parts and their counts are its whole state."""

    def __init__(self) -> None:
        self._records: dict[Part, _Record] = {}

    @property
    def down(self) -> list[Part]:
        """Parts that are failed as of the last look."""
        return [part for part, record in self._records.items() if record.down]

    @property
    def stuck(self) -> list[Part]:
        """Those of them that fail at the same offset again and again."""
        return [part for part, record in self._records.items() if record.down and record.stuck]

    def look(self, rows: Sequence[Row], now: float, offsets: Mapping[str, str] | None = None) -> Decision:
        """Decide, given the state of every part; ``now`` is monotonic seconds, ``offsets`` where failed connectors stand, as text."""
        decision = Decision([], [], [])
        seen = {(row.connector, row.task) for row in rows}
        for part in [part for part in self._records if part not in seen]:
            del self._records[part]
        for row in rows:
            part = (row.connector, row.task)
            if row.state == FAILED:
                self._failed(part, row.trouble, (offsets or {}).get(row.connector), now, decision)
            elif row.state == "RUNNING" and part in self._records:
                self._running(part, now, decision)
        return decision

    def _failed(self, part: Part, trouble: str, offset: str | None, now: float, decision: Decision) -> None:
        record = self._records.setdefault(part, _Record())
        again = record.restarted_at is not None and now - record.restarted_at >= GRACE
        if not record.down or again:
            record.failures += 1
            record.down, record.restarted_at = True, None
            record.stuck, record.offset = offset is not None and offset == record.offset, offset
            wait = 0.0 if record.failures == 1 else min(FIRST_BACKOFF * 2 ** (record.failures - 2), LONGEST_BACKOFF)
            record.restart_at = now + wait
            decision.failed.append(Failure(part, trouble, record.failures, wait, record.stuck))
        if record.restarted_at is None and now >= record.restart_at:
            record.restarted_at = now
            decision.restart.append(part)

    def _running(self, part: Part, now: float, decision: Decision) -> None:
        record = self._records[part]
        if record.down:
            record.down, record.restarted_at, record.up_since = False, None, now
            decision.recovered.append(part)
        elif now - record.up_since >= FORGIVEN_AFTER:
            del self._records[part]
