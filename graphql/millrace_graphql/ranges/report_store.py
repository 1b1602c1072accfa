"""The reports in Cassandra, read as columns: only those that a question needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from millrace_contracts.reports import BREAKDOWNS, REPORTS_TABLE, SKETCHES
from millrace_contracts.windows import Grain, from_ms
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.changes import note_reports
from millrace_graphql.ranges.columns import COLUMNS, Group, Ints, Rows, table


class ReportStore:
    """10-minute reports of one merchant and Cassandra partition (UTC month)."""

    def __init__(self, cassandra: Cassandra) -> None:
        self._cassandra = cassandra

    async def read(self, merchant_id: str, bucket: str, start_ms: int, end_ms: int, groups: Iterable[Group]) -> Rows:
        """Reports that start in [start, end) of one bucket, all currencies, in time order.

        Raises:
            UnavailableError: Cassandra does not answer.
        """
        note_reports(merchant_id, start_ms, end_ms)
        wanted = sorted(set(groups))
        columns = [name for group in wanted for name in COLUMNS[group]]
        statement = (
            f"SELECT to_unix_timestamp(window_start) AS start_ms, currency, {', '.join(columns)} FROM {{ks}}.{REPORTS_TABLE} "  # noqa: S608 - names of our own
            "WHERE merchant_id = ? AND grain = ? AND bucket = ? AND window_start >= ? AND window_start < ?"
        )
        arguments = (merchant_id, Grain.TEN_MINUTES.value, bucket, from_ms(start_ms), from_ms(end_ms))
        found = await self._cassandra.read(statement, arguments)
        keys = (integers(found["start_ms"]), found["currency"])
        values = {name: _column(name, found[name]) for name in columns}
        return {group: table(group, keys, values) for group in wanted}


def _column(name: str, column: Any) -> Any:
    if name in BREAKDOWNS:
        # Plain JSON types, the same as a chunk gives back: {value: [payments, gross]}.
        return [{value: list(pair) for value, pair in (row or {}).items()} for row in column]
    if name in SKETCHES:
        return [blob or b"" for blob in column]
    return integers(column)


def integers(column: Sequence[int | None]) -> Ints:
    """A bigint column; a null counter (a row of an older shape) reads as 0."""
    return np.array([value or 0 for value in column], dtype=np.int64)
