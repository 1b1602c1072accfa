"""What has changed, in the order in which this process heard of it, and what an answer was made of. Pure, no clock of its own.

Notices (millrace_contracts.notices) move ``Changes.seq``. Whatever is kept remembers the seq from BEFORE it was read and is good
while nothing that it was made of has changed since. Where notices cannot be trusted (Redis away, connection silent), nothing is.
"""

from __future__ import annotations

from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, field

from millrace_contracts.notices import Notice
from millrace_contracts.windows import Grain, Inner

DAY_MS = 86_400_000
LENGTH_MS = {Inner.PART.value: 600_000, Grain.TEN_MINUTES.value: 600_000, Grain.HOUR.value: 3_600_000, Grain.DAY.value: 25 * 3_600_000}
"""Longest length of a window by stored grain; a calendar day has up to 25 hours."""
MERCHANTS = 100_000
"""Merchants whose changes are remembered; one that falls out makes everything older than it doubtful."""


@dataclass
class Reads:
    """What one answer was made of."""

    days: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Merchant -> the first and last UTC day (days since 1970) whose reports were read."""
    horizon_ms: int = 0
    """The end of the latest range read."""
    progress: bool = False
    """Whether it says how far the analysis has come."""
    through_ms: int | None = None
    directory: bool = False
    """Whether it holds what the merchants table says, of which there are no notices."""
    clock: bool = False
    """Whether it depends on the time of day ("today")."""


_reads: ContextVar[Reads | None] = ContextVar("reads", default=None)


def record() -> Reads:
    """Begin to note what this task, and the tasks that it makes, read."""
    reads = Reads()
    _reads.set(reads)
    return reads


def note_reports(merchant_id: str, start_ms: int, end_ms: int) -> None:
    """Reports of [start, end) are read."""
    reads = _reads.get()
    if reads is not None:
        first, last = start_ms // DAY_MS, (end_ms - 1) // DAY_MS
        known = reads.days.get(merchant_id)
        reads.days[merchant_id] = (min(first, known[0]), max(last, known[1])) if known else (first, last)
        reads.horizon_ms = max(reads.horizon_ms, end_ms)


def note_progress(through_ms: int | None) -> None:
    """The answer knows how far the analysis has come."""
    reads = _reads.get()
    if reads is not None:
        reads.progress, reads.through_ms = True, through_ms


def note_directory() -> None:
    """The merchants table is read."""
    reads = _reads.get()
    if reads is not None:
        reads.directory = True


def note_clock() -> None:
    """The answer depends on the time of day; call it where a relative range such as "today" is resolved."""
    reads = _reads.get()
    if reads is not None:
        reads.clock = True


class Changes:
    """The changes of every merchant, by UTC day. All times are of one monotonic clock in seconds."""

    def __init__(self, capacity: int = MERCHANTS) -> None:
        self._capacity = capacity
        self.seq = 1
        self.trusted_until = float("-inf")
        self.through_ms: int | None = None
        """How far the analysis has come, as last told."""
        self._floor = 1
        self._merchants: OrderedDict[str, dict[int, int]] = OrderedDict()
        """Merchant -> UTC day -> seq of its last change; the newest merchant stands last."""

    def heard(self, notice: Notice) -> None:
        """Take a notice."""
        self.seq += 1
        merchant = notice["merchantId"]
        length = LENGTH_MS.get(notice["grain"], LENGTH_MS[Grain.DAY.value])
        days = self._merchants.setdefault(merchant, {})
        for start, _currency in notice["windows"]:
            for day in range(start // DAY_MS, (start + length - 1) // DAY_MS + 1):
                days[day] = self.seq
        self._merchants.move_to_end(merchant)
        while len(self._merchants) > self._capacity:
            _, oldest = self._merchants.popitem(last=False)
            self._floor = max(self._floor, *oldest.values(), 0)

    def forget(self) -> None:
        """Changes may have been missed: whatever was read up to now is doubtful."""
        self.seq += 1
        self._floor = self.seq
        self._merchants.clear()

    def advance(self, through_ms: int | None) -> None:
        """The analysis has come so far; call it once every notice from before that was taken."""
        if through_ms != self.through_ms:
            self.seq += 1
            self.through_ms = through_ms

    def unchanged(self, merchant_id: str, first_day: int, last_day: int, since: int) -> bool:
        """Whether no day of [first, last] has changed after ``since``."""
        if since < self._floor:
            return False
        days = self._merchants.get(merchant_id)
        if not days:
            return True
        if last_day - first_day < len(days):
            return all(days.get(day, 0) <= since for day in range(first_day, last_day + 1))
        return all(seq <= since for day, seq in days.items() if first_day <= day <= last_day)

    def good(self, reads: Reads, since: int) -> bool:
        """Whether an answer made of ``reads`` at ``since`` would be the same now.

        Progress counts while it can still change what the answer says of its range: before the range is wholly covered (I13).
        """
        if since < self._floor:
            return False
        if reads.progress and reads.through_ms != self.through_ms and not _covered(reads):
            return False
        return all(self.unchanged(merchant, first, last, since) for merchant, (first, last) in reads.days.items())


def _covered(reads: Reads) -> bool:
    return bool(reads.days) and reads.through_ms is not None and reads.horizon_ms <= reads.through_ms
