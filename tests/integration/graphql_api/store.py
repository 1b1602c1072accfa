"""Writes reports into Cassandra exactly as contracts/reports.py has them, by rules of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import DCAwareRoundRobinPolicy
from datasketches import theta_union, update_theta_sketch

from millrace_contracts import sketches
from millrace_contracts.reports import statements
from millrace_contracts.settings import CassandraSettings, NamesSettings


@dataclass
class Paid:
    """A payment as a test states it."""

    amount: int
    customer: str = "c1"
    method: str = "card"


@dataclass
class Written:
    """What happened in one window."""

    paid: list[Paid] = field(default_factory=list)
    refunded: list[int] = field(default_factory=list)
    failed: int = 0
    points: tuple[int, int] = (0, 0)


def theta(customers: list[str]) -> bytes:
    """The customers' sketch: compact, ordered, lg_k 12, normalised through a union."""
    sketch = update_theta_sketch(12)
    for customer in customers:
        sketch.update(customer)
    union = theta_union(12)
    union.update(sketch)
    return bytes(union.get_result().serialize())


def histogram(amounts: list[int]) -> bytes:
    """The histogram of amounts."""
    counts: dict[int, int] = {}
    for amount in amounts:
        index = sketches.bucket_index(amount)
        counts[index] = counts.get(index, 0) + 1
    return sketches.encode(counts)


class Store:
    """One keyspace."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        settings, names = CassandraSettings.load(environ), NamesSettings.load(environ)
        self.keyspace = names.keyspace
        profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=settings.local_dc), request_timeout=60)
        self._cluster = Cluster(
            settings.contact_points(), port=settings.port, execution_profiles={EXEC_PROFILE_DEFAULT: profile}, protocol_version=5
        )
        self.session: Session = self._cluster.connect()
        for statement in statements(names.keyspace, settings.replication):
            self.session.execute(statement)
        self._insert = self.session.prepare(
            f"INSERT INTO {names.keyspace}.reports (merchant_id, grain, bucket, window_start, currency, payments, gross, refunds, "
            "refunded_amount, failed, smallest, largest, points_used, points_earned, by_method, by_gender, by_age_band, by_grade, "
            "by_country, by_device, customers, amounts, revision, version, complete_through) "
            f"VALUES ({', '.join('?' * 25)}) USING TIMESTAMP ?"
        )

    def close(self) -> None:
        """Close the connections."""
        self._cluster.shutdown()

    def drop(self) -> None:
        """Forget the keyspace."""
        self.session.execute(f"DROP KEYSPACE IF EXISTS {self.keyspace}", timeout=120)

    def row(self, merchant: str, start: datetime, currency: str, written: Written, version: int) -> tuple[object, ...]:
        """Arguments of the insert of a 10-minute report."""
        return self._row(merchant, ("10m", f"{start:%Y-%m}"), start, currency, written, version, start)

    def _row(
        self, merchant: str, place: tuple[str, str], start: datetime, currency: str, written: Written, version: int, through: datetime
    ) -> tuple[object, ...]:
        amounts = [paid.amount for paid in written.paid]
        methods: dict[str, tuple[int, int]] = {}
        for paid in written.paid:
            n, gross = methods.get(paid.method, (0, 0))
            methods[paid.method] = (n + 1, gross + paid.amount)
        unknown = {"unknown": (len(amounts), sum(amounts))} if amounts else {}
        return (
            merchant, *place, start, currency, len(amounts), sum(amounts), len(written.refunded), sum(written.refunded),
            written.failed, min(amounts, default=0), max(amounts, default=0), *written.points,
            methods, unknown, unknown, unknown, unknown, unknown,
            theta([paid.customer for paid in written.paid]), histogram(amounts),
            len(amounts) + len(written.refunded) + written.failed, version, through, version,
        )  # fmt: skip

    def report(self, merchant: str, start: datetime, currency: str, written: Written, version: int = 1) -> None:
        """Write one report."""
        self.session.execute(self._insert, self.row(merchant, start, currency, written, version))

    def rollup(self, merchant: str, grain: str, start: datetime, currency: str, written: Written, through: datetime) -> None:
        """Write an hour (``1h``) or a day (``1d``)."""
        bucket = f"{start:%Y}" if grain == "1h" else "all"
        self.session.execute(self._insert, self._row(merchant, (grain, bucket), start, currency, written, 1, through))

    def reports(self, rows: list[tuple[object, ...]]) -> None:
        """Write many rows."""
        from cassandra.concurrent import execute_concurrent_with_args

        execute_concurrent_with_args(self.session, self._insert, rows, concurrency=64)

    def pack(self, merchant: str, day: datetime, data: Mapping[str, bytes], version: int, through: datetime) -> None:
        """Write a packed day."""
        columns = ("merchant_id", "bucket", "day", *data, "version", "complete_through")
        text = f"INSERT INTO {self.keyspace}.packed_days ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) USING TIMESTAMP ?"
        self.session.execute(self.session.prepare(text), (merchant, f"{day:%Y-%m}", day, *data.values(), version, through, version))

    def shadow(self, merchant: str, day: datetime, version: int) -> None:
        """Do what comes before reports of a version are written into a day that has ended."""
        text = f"DELETE FROM {self.keyspace}.packed_days USING TIMESTAMP %s WHERE merchant_id = %s AND bucket = %s AND day = %s"
        self.session.execute(text, (version - 1, merchant, f"{day:%Y-%m}", day))

    def merchant(
        self,
        merchant: str,
        currency: str,
        name: str = "A shop",
        zone: str = "Asia/Seoul",
        kind: str | None = None,
        region: str | None = None,
    ) -> None:
        """Write a merchant."""
        self.session.execute(
            f"INSERT INTO {self.keyspace}.merchants "
            "(merchant_id, name, currency, time_zone, country, status, business_type, region, version) "
            "VALUES (%s, %s, %s, %s, 'KR', 'active', %s, %s, 1)",
            (merchant, name, currency, zone, kind, region),
        )

    def customers(self, merchant: str, start: datetime, new: int, returning: int) -> None:
        """Write a day's new and returning customers."""
        self.session.execute(
            f"INSERT INTO {self.keyspace}.customer_days "
            "(merchant_id, window_start, customers, new_customers, returning_customers, revision, version, complete_through) "
            "VALUES (%s, %s, %s, %s, %s, %s, 1, %s)",
            (merchant, start, new + returning, new, returning, 2 * new + returning, start),
        )

    def progress(self, through: datetime, name: str = "payments") -> None:
        """Write how far the analysis has come, or with the name ``rollups`` its hours and days, or ``customers``."""
        self.session.execute(
            f"INSERT INTO {self.keyspace}.progress (name, complete_through, updated_at, batch_id, version, detail) "
            "VALUES (%s, %s, %s, 1, 1, '')",
            (name, through, datetime.now(UTC)),
        )

    def forget_progress(self, name: str) -> None:
        """There never were any."""
        self.session.execute(f"DELETE FROM {self.keyspace}.progress WHERE name = %s", (name,))
