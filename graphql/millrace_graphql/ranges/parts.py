"""10-minute reports in their parts, where a window of an answer begins inside one (millrace_contracts.reports, grain ``part``). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from millrace_contracts.windows import WINDOW_MS
from millrace_graphql.ranges.columns import Group, Ints, Rows, Table, in_order, joined


def inside(instants: Ints) -> Ints:
    """Those instants at which no 10-minute report begins."""
    found: Ints = instants[instants // WINDOW_MS * WINDOW_MS != instants]  # a remainder takes numpy twenty times as long
    return found


def windows_of(instants: Ints) -> Ints:
    """The starts of the 10-minute reports that hold some instants, once each, ascending."""
    return np.unique(instants - instants % WINDOW_MS)


def in_parts(reports: Rows, parts: Sequence[Rows], windows: Ints) -> tuple[Rows, Ints, Ints]:
    """(the reports, those that start at ``windows`` in their parts; the windows whose report lacks them; the windows without any part).

    The parts stand for a window if in each currency their revisions add up to at least that of the report: else they are absent or older.
    """
    found = {group: joined(group, [part[group] for part in parts]) for group in parts[0]}
    behind, stored = _revisions(reports[Group.COUNTERS], windows), _revisions(found[Group.COUNTERS], windows)
    behind.subtract(stored)
    torn = np.array(sorted({window for (window, _), lacking in behind.items() if lacking > 0}), np.int64)
    ready = np.setdiff1d(windows, torn)
    result = {}
    for group, data in reports.items():
        pieces = found[group].where(np.isin(found[group].starts - found[group].starts % WINDOW_MS, ready))
        result[group] = in_order(group, [data.where(~np.isin(data.starts, ready)), pieces])
    return result, torn, np.union1d(torn, np.setdiff1d(windows, [window for window, _ in stored])).astype(np.int64)


def _revisions(data: Table, windows: Ints) -> Counter[tuple[int, str]]:
    """The revisions of what starts in each window, by currency."""
    starts = data.starts - data.starts % WINDOW_MS
    total: Counter[tuple[int, str]] = Counter()
    for row in np.flatnonzero(np.isin(starts, windows)).tolist():
        total[int(starts[row]), str(data.currencies[row])] += int(data.values["revision"][row])
    return total
