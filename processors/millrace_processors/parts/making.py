"""Parts for what a merchant had before its zone was known (contracts/reports.py)."""

from __future__ import annotations

from millrace_processors import refresh
from millrace_processors.lake import Lake
from millrace_processors.parts import whose
from millrace_processors.settings import Config


def first(config: Config, lake: Lake, names: frozenset[str], before: int | None) -> int:
    """Make the parts of those of some merchants that had none before a snapshot of the dimension; how many merchants these are.

    It comes after the commit that tells of them, and a batch of payments looks for them after its own: so one of the two sees the other.
    What a kill leaves undone, the next rollup does.
    """
    new = names - whose.merchants(lake, before) if names and before is not None else names
    newest = lake.current() if new else None
    if newest is not None:
        refresh.write_parts(config, whose.only(lake.read(newest), new), new, newest, None)
    return len(new)
