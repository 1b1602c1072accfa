"""The reports in Cassandra, read as columns: only those that a question needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from millrace_contracts.reports import BREAKDOWNS, CUSTOMERS_TABLE, PACKED_TABLE, REPORTS_TABLE, SKETCHES
from millrace_contracts.windows import Grain as Stored
from millrace_contracts.windows import Inner
from millrace_graphql.ranges.cassandra import Cassandra, Columns
from millrace_graphql.ranges.changes import note_reports
from millrace_graphql.ranges.columns import COLUMNS, PACKED_COLUMNS, Group, Ints, Rows, table, unpacked
from millrace_graphql.ranges.customer_days import READ as CUSTOMER_COLUMNS
from millrace_graphql.ranges.zones import DAY_MS

PACKED_PAGE = 64
"""Packed days a page: of a large merchant, each has hundreds of KB."""


@dataclass(frozen=True)
class Rollups:
    """Stored hours or days; ``through_ms[i]`` says up to when the i-th knew every change (the same rows in each group)."""

    rows: Rows
    through_ms: Ints


class ReportStore:
    """Reports of one merchant and Cassandra partition."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def read(self, merchant_id: str, bucket: str, start_ms: int, end_ms: int, groups: Iterable[Group]) -> Rows:
        """10-minute reports that start in [start, end) of one bucket (UTC month), all currencies, in time order.

        Raises:
            UnavailableError: Cassandra does not answer.
        """
        rows, _ = await self._read(merchant_id, Stored.TEN_MINUTES, bucket, (start_ms, end_ms), groups)
        return rows

    async def rollups(
        self, merchant_id: str, grain: Stored | Inner, bucket: str, start_ms: int, end_ms: int, groups: Iterable[Group]
    ) -> Rollups:
        """Hours, days or parts of reports that start in [start, end) of one bucket, as ``read`` gives the reports."""
        through = ", to_unix_timestamp(complete_through) AS through_ms"
        rows, found = await self._read(merchant_id, grain, bucket, (start_ms, end_ms), groups, through)
        return Rollups(rows, integers(found["through_ms"]))

    async def packed(self, merchant_id: str, bucket: str, start_ms: int, end_ms: int, groups: Iterable[Group]) -> dict[int, Rows]:
        """The packed days of one bucket (UTC month) that begin in [start, end), by their start, each with its 10-minute reports.

        Raises:
            UnavailableError: Cassandra does not answer.
        """
        note_reports(merchant_id, start_ms, end_ms)
        wanted, statement = _packed_statement(frozenset(groups))
        found = await self._cassandra.read(statement, (merchant_id, bucket, start_ms, end_ms), PACKED_PAGE)
        days: dict[int, Rows] = {}
        for place, (day_ms, through_ms) in enumerate(zip(found["day_ms"], found["through_ms"], strict=True)):
            if through_ms is not None and through_ms >= day_ms + DAY_MS:
                parts = {group: [found[name][place] for name in ("windows", *PACKED_COLUMNS[group])] for group in wanted}
                days[day_ms] = {group: unpacked(group, day_ms, columns) for group, columns in parts.items()}
        return days

    async def customer_days(self, merchant_id: str, start_ms: int, end_ms: int) -> tuple[Ints, Mapping[str, Ints]]:
        """Starts of the days in [start, end) that have counts of customers, ascending, and the counts.

        Raises:
            UnavailableError: Cassandra does not answer.
        """
        statement = (
            f"SELECT to_unix_timestamp(window_start) AS start_ms, {', '.join(CUSTOMER_COLUMNS)} FROM {{ks}}.{CUSTOMERS_TABLE} "  # noqa: S608 - names of our own
            "WHERE merchant_id = ? AND window_start >= ? AND window_start < ?"
        )
        found = await self._cassandra.read(statement, (merchant_id, start_ms, end_ms))
        return integers(found["start_ms"]), {name: integers(found[name]) for name in CUSTOMER_COLUMNS}

    async def _read(
        self, merchant_id: str, grain: Stored | Inner, bucket: str, within: tuple[int, int], groups: Iterable[Group], more: str = ""
    ) -> tuple[Rows, Columns]:
        note_reports(merchant_id, *within)
        wanted = sorted(set(groups))
        columns = [name for group in wanted for name in COLUMNS[group]]
        statement = (
            f"SELECT to_unix_timestamp(window_start) AS start_ms, currency, {', '.join(columns)}{more} FROM {{ks}}.{REPORTS_TABLE} "  # noqa: S608 - names of our own
            "WHERE merchant_id = ? AND grain = ? AND bucket = ? AND window_start >= ? AND window_start < ?"
        )
        start_ms, end_ms = within
        found = await self._cassandra.read(statement, (merchant_id, grain.value, bucket, start_ms, end_ms))
        keys = (integers(found["start_ms"]), found["currency"])
        values = {name: _column(name, found[name]) for name in columns}
        return {group: table(group, keys, values) for group in wanted}, found


@lru_cache(64)
def _packed_statement(groups: frozenset[Group]) -> tuple[tuple[Group, ...], str]:
    """The groups in order, and the read of their columns."""
    wanted = tuple(sorted(groups))
    names = ", ".join(("windows", *(name for group in wanted for name in PACKED_COLUMNS[group])))
    instants = "to_unix_timestamp(day) AS day_ms, to_unix_timestamp(complete_through) AS through_ms"
    return wanted, (
        f"SELECT {instants}, {names} FROM {{ks}}.{PACKED_TABLE} "  # noqa: S608 - names of our own
        "WHERE merchant_id = ? AND bucket = ? AND day >= ? AND day < ?"
    )


def _column(name: str, column: Any) -> Any:
    if name in BREAKDOWNS:
        # Plain JSON types, the same as a chunk gives back: {value: [payments, gross]}.
        return [{value: list(pair) for value, pair in (row or {}).items()} for row in column]
    if name in SKETCHES:
        return [blob or b"" for blob in column]
    return integers(column)


def integers(column: Sequence[int | None] | Ints) -> Ints:
    """A bigint column; a null counter (a row of an older shape) reads as 0."""
    if isinstance(column, np.ndarray):
        return column
    return np.array([value or 0 for value in column], dtype=np.int64)
