"""Packed days in Cassandra (contracts/reports.py, PACKED_TABLE): written, and shadowed before reports of their days are."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from cassandra.cluster import Session

from millrace_contracts.packed import DAY_MS, encode_day
from millrace_contracts.reports import BREAKDOWNS, PACKED, PACKED_CLOCK_MS, PACKED_TABLE, SKETCHES
from millrace_contracts.windows import Grain, bucket, from_ms
from millrace_processors import report_store
from millrace_processors.replica_batches import Row
from millrace_processors.report_store import Target
from millrace_processors.reports import Reports
from millrace_processors.rollups import entries, joined, part

MOST_BYTES = 8 * 2**20
"""A larger day stays in its reports' rows: Cassandra takes no change of more than half a segment of its commit log, 16 MiB."""
_COLUMNS = ("merchant_id", "bucket", "day", *PACKED, "version", "complete_through")
_DELETED, _WRITTEN = slice(1, 3), slice(0, 2)
"""Where the partition key stands in the rows of each statement."""
_A_TRIP = 1_000
_BIGINT = struct.Struct(">q")


def now_ms() -> int:
    """This machine's clock."""
    return time.time_ns() // 1_000_000


def shadow(target: Target, reports: Reports, clock: Callable[[], int] = now_ms) -> None:
    """Delete the packed days that reports stand in, as far as they come from older snapshots than these (I7).

    A day that has not ended has no packed row, and leaves no tombstone. Raises as ``report_store.write`` does.
    """
    last = max(clock() + PACKED_CLOCK_MS, target.complete_through_ms or 0) // DAY_MS
    days = (reports.window_ms // DAY_MS).tolist()
    ended = sorted({(merchant, day) for merchant, day in zip(reports.merchants, days, strict=True) if day < last})
    statement = f"DELETE FROM {target.keyspace}.{PACKED_TABLE} USING TIMESTAMP ? WHERE merchant_id = ? AND bucket = ? AND day = ?"  # noqa: S608
    version = _BIGINT.pack(target.version - 1)
    rows: Iterator[Row] = ([version, merchant.encode(), *_place(day * DAY_MS)] for merchant, day in ended)
    report_store.send(target, statement, rows, "deletions of packed days", _DELETED)


def write(target: Target, reports: Reports) -> int:
    """Write whole days, sorted by merchant, start and currency; how many. Raises as ``report_store.write`` does."""
    marks = ", ".join("?" * len(_COLUMNS))
    statement = f"INSERT INTO {target.keyspace}.{PACKED_TABLE} ({', '.join(_COLUMNS)}) VALUES ({marks}) USING TIMESTAMP ?"  # noqa: S608
    written = list(rows(target, reports))
    report_store.send(target, statement, written, "packed days", _WRITTEN)
    return len(written)


def rows(target: Target, reports: Reports) -> Iterator[Row]:
    """The cells of packed days."""
    assert target.complete_through_ms is not None, "nothing has closed before something is complete"
    version, through = _BIGINT.pack(target.version), _BIGINT.pack(target.complete_through_ms)
    for low, high in itertools.pairwise([*starts_of_days(reports), len(reports)]):
        day = part(reports, low, high)
        day_ms = int(day.window_ms[0]) // DAY_MS * DAY_MS
        data = encode_day(day_ms, day.window_ms, day.currencies, columns(day))
        if sum(map(len, data.values())) <= MOST_BYTES:
            yield [day.merchants[0].encode(), *_place(day_ms), *(data[name] for name in PACKED), version, through, version]


def whole_days(pieces: Iterator[Reports]) -> Iterator[Reports]:
    """Reports sorted by merchant and start, cut so that no merchant's day is split."""
    waiting: Reports | None = None
    for piece in pieces:
        if not len(piece):
            continue
        found = piece if waiting is None else joined([waiting, piece])
        last = starts_of_days(found)[-1]
        if last:
            yield part(found, 0, last)
        waiting = part(found, last, len(found))
    if waiting is not None:
        yield waiting


def starts_of_days(reports: Reports) -> list[int]:
    """The places at which a merchant's UTC day begins."""
    days = reports.window_ms // DAY_MS
    merchants = np.asarray(reports.merchants, dtype=object)
    changes = (days[1:] != days[:-1]) | (merchants[1:] != merchants[:-1])
    return [0, *(np.flatnonzero(changes) + 1).tolist()]


def forget(session: Session, keyspace: str, version: int) -> None:
    """Delete every packed day up to a version: those of another lake, whatever it held."""
    delete = session.prepare(f"DELETE FROM {keyspace}.{PACKED_TABLE} USING TIMESTAMP ? WHERE merchant_id = ? AND bucket = ?")  # noqa: S608
    found = iter(session.execute(f"SELECT DISTINCT merchant_id, bucket FROM {keyspace}.{PACKED_TABLE}", timeout=120))  # noqa: S608 - names of our own
    while some := list(itertools.islice(found, _A_TRIP)):
        report_store.execute_all(session, [(delete, (version, row.merchant_id, row.bucket)) for row in some])


def _place(day_ms: int) -> tuple[bytes, bytes]:
    """The bucket and the day of a row."""
    return bucket(Grain.TEN_MINUTES, from_ms(day_ms)).encode(), _BIGINT.pack(day_ms)


def columns(day: Reports) -> dict[str, Any]:
    """The CONTENT of reports, column by column, as ``packed.encode_day`` takes it."""
    maps = {name: [_map(data) for data in day.breakdowns[name]] for name in BREAKDOWNS}
    return {**day.counters, "revision": day.revision, **maps, **{name: getattr(day, name) for name in SKETCHES}}


def _map(data: bytes) -> dict[str, tuple[int, int]]:
    return {name.decode(): pair for name, pair in entries(data).items()}
