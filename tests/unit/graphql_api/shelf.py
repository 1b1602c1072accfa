"""A report store in memory: the stand-in for Cassandra, held to the same contract by tests/integration/graphql_api/test_report_store.py."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import Inner, bucket, from_ms
from millrace_graphql.ranges.columns import Group, Rows, decode, encode
from millrace_graphql.ranges.report_store import Rollups
from tests.unit.graphql_api.facts import DAY, WINDOW, reports

Facts = dict[tuple[int, str], Any]


def gathered(facts: Facts, low: int, high: int) -> Facts:
    """All facts of [low, high) as those of one window, by currency."""
    result: Facts = {}
    for (start, currency), (paid, refunds, failed) in sorted(facts.items()):
        if low <= start < high:
            known = result.get((low, currency), ([], [], 0))
            result[low, currency] = (known[0] + paid, known[1] + refunds, known[2] + failed)
    return result


def _by_window(facts: Facts) -> Facts:
    """Facts of any instants as those of their 10-minute windows."""
    result: Facts = {}
    for (at, currency), (paid, refunds, failed) in sorted(facts.items()):
        known = result.get((at - at % WINDOW, currency), ([], [], 0))
        result[at - at % WINDOW, currency] = (known[0] + paid, known[1] + refunds, known[2] + failed)
    return result


class Shelf:
    """A report store in memory: 10-minute reports, hours and days with the completeness of each, and packed days.

    ``parted``: the starts of the reports that are stored in their parts too; a fact's instant says which part it is in.
    """

    def __init__(
        self,
        facts: Facts,
        rolled: Mapping[Stored, Mapping[tuple[int, int], int]],
        packed: Iterable[int] = (),
        parted: Iterable[int] = (),
    ) -> None:
        self._raw = reports(_by_window(facts))
        inner = set(parted)
        parts = reports({(at, currency): value for (at, currency), value in facts.items() if at - at % WINDOW in inner})
        self._parts = Rollups(parts, np.zeros(len(parts[Group.COUNTERS].starts), np.int64))
        self.part_spans: list[tuple[int, int]] = []
        self._packed = sorted(packed)
        self.packed_spans: list[tuple[int, int]] = []
        self._rolled = {grain: self._shelved(facts, windows) for grain, windows in rolled.items()}
        self.raw_spans: list[tuple[int, int]] = []

    def _shelved(self, facts: Facts, windows: Mapping[tuple[int, int], int]) -> Rollups:
        merged: Facts = {}
        through: dict[int, int] = {}
        for (low, high), complete in windows.items():
            merged |= gathered(facts, low, high)
            through[low] = complete
        return Rollups(reports(merged), np.array([through[start] for start, _ in sorted(merged)], np.int64))

    async def read(self, merchant_id: str, bucket_name: str, start_ms: int, end_ms: int, groups: frozenset[Group]) -> Rows:
        self.raw_spans.append((start_ms, end_ms))
        starts = self._raw[Group.COUNTERS].starts.tolist()
        kept = np.array([start_ms <= at < end_ms and bucket(Stored.TEN_MINUTES, from_ms(at)) == bucket_name for at in starts], bool)
        return {group: self._raw[group].where(kept) for group in groups}

    async def packed(self, merchant_id: str, bucket_name: str, start_ms: int, end_ms: int, groups: frozenset[Group]) -> dict[int, Rows]:
        self.packed_spans.append((start_ms, end_ms))
        found = {}
        for day in self._packed:
            rows = {group: self._raw[group].between(day, day + DAY) for group in groups}
            if (
                start_ms <= day < end_ms
                and bucket(Stored.TEN_MINUTES, from_ms(day)) == bucket_name
                and len(next(iter(rows.values())).starts)
            ):
                found[day] = {group: decode(group, day, encode(group, day, data)) for group, data in rows.items()}
        return found

    async def rollups(
        self, merchant_id: str, grain: Stored | Inner, bucket_name: str, start_ms: int, end_ms: int, groups: frozenset[Group]
    ) -> Rollups:
        if isinstance(grain, Inner):
            self.part_spans.append((start_ms, end_ms))
        found = self._parts if isinstance(grain, Inner) else self._rolled[grain]
        starts = found.rows[Group.COUNTERS].starts.tolist()
        kept = np.array([start_ms <= at < end_ms and bucket(grain, from_ms(at)) == bucket_name for at in starts], bool)
        return Rollups({group: found.rows[group].where(kept) for group in groups}, found.through_ms[kept])
