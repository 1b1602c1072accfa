"""What bench/api.py asks about: merchants with reports in Cassandra, written as contracts/reports.py has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import DCAwareRoundRobinPolicy
from cassandra.query import PreparedStatement
from datasketches import theta_union, update_theta_sketch

from millrace_contracts import sketches
from millrace_contracts.packed import encode_day
from millrace_contracts.reports import (
    BREAKDOWNS,
    COUNTERS,
    PACKED,
    PACKED_NUMBERS,
    PACKED_TABLE,
    PROGRESS_PAYMENTS,
    PROGRESS_ROLLUPS,
    SKETCHES,
    statements,
)
from millrace_contracts.settings import CassandraSettings, NamesSettings
from millrace_contracts.windows import to_ms

DAY = datetime(2026, 11, 20, tzinfo=UTC)
"""The day that the range queries ask for: every window of it holds a report."""
DAYS = 28
"""Days before and with it; the others hold a report every six hours."""
LONG_DAYS = 90
"""The first merchants have a report in every window of so many days: for the cold ranges."""
LONG_MERCHANTS = 8
COLUMNS = (
    "merchant_id", "bucket", "window_start", "currency", *COUNTERS, *BREAKDOWNS, "customers", "amounts", "revision", "version",
    "complete_through",
)  # fmt: skip


def merchant_name(number: int) -> str:
    """The merchant of a number."""
    return f"bench-{number:05d}"


def theta(customers: range) -> bytes:
    """The sketch of some customers."""
    sketch = update_theta_sketch(sketches.THETA_LG_K)
    for customer in customers:
        sketch.update(f"customer-{customer}")
    union = theta_union(sketches.THETA_LG_K)
    union.update(sketch)
    return bytes(union.get_result().serialize())


_SKETCHES = [theta(range(n, n + 12)) for n in range(50)]
_HISTOGRAMS = [sketches.encode({100 + n % 90: 3, 200 + n: 2}) for n in range(50)]


def windows(number: int, long: int = LONG_MERCHANTS) -> Iterator[datetime]:
    """The windows in which a merchant has a report."""
    end = DAY + timedelta(days=1)
    if number < long:
        yield from (end - timedelta(minutes=10 * n) for n in range(LONG_DAYS * 144, 0, -1))
        return
    for day in range(DAYS - 1, 0, -1):
        yield from (DAY - timedelta(days=day) + timedelta(hours=6 * n) for n in range(4))
    yield from (DAY + timedelta(minutes=10 * n) for n in range(144))


def row(number: int, start: datetime) -> tuple[Any, ...]:
    """Arguments of the insert."""
    seed = number * 31 + int(start.timestamp()) // 600
    payments = 5 + seed % 9
    gross = payments * (1_000 + seed % 7_919)
    counters = dict.fromkeys(COUNTERS, 0) | {"payments": payments, "gross": gross, "smallest": 100, "largest": gross // 2}
    parts = {"card": (payments - 2, gross - 1_000), "cash": (2, 1_000)}
    values = [counters[name] for name in COUNTERS]
    sketch, histogram = _SKETCHES[seed % 50], _HISTOGRAMS[seed % 50]
    return (
        merchant_name(number),
        f"{start:%Y-%m}",
        start,
        "USD",
        *values,
        *[parts] * len(BREAKDOWNS),
        sketch,
        histogram,
        payments,
        1,
        start,
    )


def packed_rows(number: int) -> Iterator[tuple[Any, ...]]:
    """Arguments of the inserts of a merchant's packed days."""
    for day, starts in groupby(windows(number), lambda start: start.replace(hour=0, minute=0)):
        yield packed_row(number, day, list(starts))


def packed_row(number: int, day: datetime, starts: Sequence[datetime]) -> tuple[Any, ...]:
    """Arguments of the insert of a packed day, made as the rollup makes it: of the reports' columns, by the contracts' encoder."""
    reports = [dict(zip(COLUMNS, row(number, start), strict=True)) for start in starts]
    numbers = {name: np.array([report[name] for report in reports], np.int64) for name in PACKED_NUMBERS}
    others = {name: [report[name] for report in reports] for name in (*BREAKDOWNS, *SKETCHES)}
    ms = np.array([to_ms(start) for start in starts], np.int64)
    data = encode_day(to_ms(day), ms, [report["currency"] for report in reports], {**numbers, **others})
    return (merchant_name(number), f"{day:%Y-%m}", day, *(data[name] for name in PACKED), 1, day + timedelta(days=1))


def costs() -> dict[str, int]:
    """What the packed row of the day that is asked for adds to its reports: bytes before Cassandra compresses either, and writes."""
    starts = [start for start in windows(LONG_MERCHANTS) if start >= DAY]
    row_bytes = sum(_bytes(row(LONG_MERCHANTS, start)) for start in starts)
    packed = dict(zip(PACKED, packed_row(LONG_MERCHANTS, DAY, starts)[3:], strict=False))
    asked = len(packed["windows"]) + len(packed["numbers"])
    return {
        "packedBytes": sum(map(len, packed.values())),
        "countersBytes": asked,
        "rowsBytes": row_bytes,
        "packedWrites": 1,
        "rowWrites": len(starts),
    }


def _bytes(value: Any) -> int:
    """How long a value is in the protocol's bytes, without the lengths."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(len(name) + 16 for name in value)
    return sum(map(_bytes, value)) if isinstance(value, tuple) else 8


def connect(environ: Mapping[str, str]) -> tuple[Cluster, Session]:
    """A session with long timeouts."""
    settings = CassandraSettings.load(environ)
    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=settings.local_dc), request_timeout=120)
    cluster = Cluster(settings.contact_points(), port=settings.port, execution_profiles={EXEC_PROFILE_DEFAULT: profile}, protocol_version=5)
    return cluster, cluster.connect()


def fill(environ: Mapping[str, str], merchants: int) -> None:
    """Write everything, unless it is there."""
    settings, names = CassandraSettings.load(environ), NamesSettings.load(environ)
    cluster, session = connect(environ)
    for statement in statements(names.keyspace, settings.replication):
        session.execute(statement)
    done = session.execute(f"SELECT detail FROM {names.keyspace}.progress WHERE name = 'payments'").one()
    state = f"{merchants} packed"
    if done is None or done.detail != state:
        insert = session.prepare(
            f"INSERT INTO {names.keyspace}.reports ({', '.join(COLUMNS)}, grain) VALUES ({', '.join('?' * len(COLUMNS))}, '10m')"
        )
        _write(session, insert, (row(number, start) for number in range(merchants) for start in windows(number)))
        columns = ("merchant_id", "bucket", "day", *PACKED, "version", "complete_through")
        insert = session.prepare(
            f"INSERT INTO {names.keyspace}.{PACKED_TABLE} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        )
        _write(session, insert, (packed for number in range(merchants) for packed in packed_rows(number)), concurrency=16)  # 50 KB each
        through = DAY + timedelta(days=1)
        for name in (PROGRESS_ROLLUPS, PROGRESS_PAYMENTS):
            session.execute(
                f"INSERT INTO {names.keyspace}.progress (name, complete_through, updated_at, batch_id, version, detail) "
                "VALUES (%s, %s, %s, 1, 1, %s)",
                (name, through, datetime.now(UTC), state),
            )
    cluster.shutdown()


def _write(session: Session, insert: PreparedStatement, rows: Iterator[tuple[Any, ...]], concurrency: int = 200) -> None:
    for result in execute_concurrent_with_args(session, insert, rows, concurrency=concurrency, results_generator=True):
        assert result.success, result
