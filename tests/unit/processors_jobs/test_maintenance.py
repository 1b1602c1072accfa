"""Which snapshots maintenance keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from millrace_processors.lake import Retained
from millrace_processors.maintenance import needed

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def snapshots(*given: tuple[float, str | None]) -> list[Retained]:
    """Snapshots by age in days and mark, oldest first."""
    return [Retained(number, number - 1 if number else None, NOW - timedelta(days=age), mark) for number, (age, mark) in enumerate(given)]


def test_the_snapshots_that_stay() -> None:
    found = snapshots((30, "gone:1"), (9, "q:1"), (6, "late:7"), (5, "q:2"), (4, "q:3"), (3, None), (0.5, None), (0.1, None))
    assert needed(found, NOW, timedelta(days=1), None) == {2, 4, 6, 7}
    assert needed(found, NOW, timedelta(0), 3) == {2, 3, 4, 5, 6, 7}, "all since the rollup"
    assert needed(found[4:], NOW, timedelta(0), 3) == {4, 5, 6, 7}, "the rollup's own may be gone, not what follows it"
    assert needed(found, NOW, timedelta(0), 1) == {2, 4, 7}, "a rollup that was last seen nine days ago begins anew"
    assert needed(found[-1:], NOW, timedelta(0), None) == {7}
    assert needed([], NOW, timedelta(0), None) == set()
