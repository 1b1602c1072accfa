"""The lake: facts and dimensions as Iceberg tables, and what the analysis needs to know of their snapshots.

A snapshot that a micro-batch appended carries ``millrace.batch`` = ``<query>:<batch id>`` in its summary, so that a batch that runs again
finds its facts in the lake already.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from millrace_contracts.windows import from_ms
from millrace_processors.errors import LakeError
from millrace_processors.facts import COLUMNS
from millrace_processors.session import CATALOG
from millrace_processors.settings import LakeSettings

BATCH = "millrace.batch"
EPOCH = "millrace.epoch"
"""Table property: microseconds of the table's creation; a lake that is rebuilt later is sure to exceed it (I7)."""
_TYPES = {"window_start": "timestamp", "occurred_at": "timestamp", "retracted": "boolean"} | dict.fromkeys(
    ("amount", "points_used", "points_earned", "version"), "bigint"
)
_TABLE_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # One writer task a partition: without it every task would leave a small file in every partition that it touches.
    "write.distribution-mode": "hash",
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "50",
    "commit.manifest.min-count-to-merge": "50",
    "commit.retry.num-retries": "20",
    "read.split.open-file-cost": str(512 * 1024),
}

# A driver from before a column writes on without it. Iceberg still refuses other columns, and another order of them.
_HISTORY_PROPERTIES = {"write.spark.accept-any-schema": "true"}


@dataclass(frozen=True)
class Snapshot:
    """A state of the facts table. ``version`` is what reports computed from it carry (I7); ``parent`` is None for the first one."""

    id: int
    parent: int | None
    version: int
    batch: str | None
    added: int | None = None
    """How many facts it has added, where its summary says so."""


@dataclass(frozen=True)
class Retained:
    """A snapshot of any table as maintenance sees it; ``at`` is the instant of its commit."""

    id: int
    parent: int | None
    at: datetime
    batch: str | None


class Lake:
    """The tables of one namespace."""

    def __init__(self, session: SparkSession, settings: LakeSettings, namespace: str) -> None:
        self.session = session
        self._settings = settings
        self._namespace = f"{CATALOG}.{namespace}"
        self.facts = f"{self._namespace}.facts"
        self.merchants = f"{self._namespace}.merchants"
        self.users = f"{self._namespace}.users"
        self.certificates = f"{self._namespace}.certificates"

    def declare(self) -> list[str]:
        """Create what is missing; the names of all tables."""
        self.session.sql(f"CREATE NAMESPACE IF NOT EXISTS {self._namespace}")
        columns = ", ".join(f"{name} {_TYPES.get(name, 'string')}" for name in COLUMNS)
        partition = f"{self._settings.time_partition}(window_start), bucket({self._settings.buckets}, merchant_id)"
        self._create(self.facts, columns, f"PARTITIONED BY ({partition})", {EPOCH: str(time.time_ns() // 1000)})
        history = "version bigint, deleted boolean, document string, seen_at timestamp, version_order string"
        for table, key in ((self.merchants, "merchant_id"), (self.users, "user_key")):
            self._create(table, f"{key} string, {history}", "", _HISTORY_PROPERTIES)
            self._evolve(table, "version_order string")
        return [self.facts, self.merchants, self.users]

    def declare_certificates(self) -> list[str]:
        """Create the table of the audits' certificates if it is missing; the names of its columns."""
        counts = ("kafka_facts", "lake_facts", "kafka_amount", "lake_amount", "kafka_digest", "lake_digest", "reports", "differing_reports")
        kinds = {
            "window_start": "timestamp", "audited_at": "timestamp", "complete_through": "timestamp", "version": "bigint",
            **dict.fromkeys(counts, "bigint"), "example": "string", "complete": "boolean",
        }  # fmt: skip
        self._create(
            self.certificates, ", ".join(f"{name} {kind}" for name, kind in kinds.items()), "PARTITIONED BY (months(window_start))"
        )
        return list(kinds)

    def _create(self, table: str, columns: str, partition: str, more: dict[str, str] | None = None) -> None:
        properties = ", ".join(f"'{key}' = '{value}'" for key, value in (_TABLE_PROPERTIES | (more or {})).items())
        self.session.sql(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) USING iceberg {partition} TBLPROPERTIES ({properties})")

    def _evolve(self, table: str, column: str) -> None:
        """Give a table from before a column that column, null so far, and a snapshot of that schema: readers name the newest snapshot."""
        name = column.partition(" ")[0]
        if name not in self.session.table(table).columns:
            properties = ", ".join(f"'{key}' = '{value}'" for key, value in _HISTORY_PROPERTIES.items())
            self.session.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ({properties})")
            self.session.sql(f"ALTER TABLE {table} ADD COLUMN {column}")
        newest = self.newest_of(table)
        if newest is not None and name not in self.session.read.option("versionAsOf", str(newest)).table(table).columns:
            self.session.table(table).where("false").writeTo(table).append()

    def append(self, facts: DataFrame, query: str, batch_id: int) -> None:
        """Step 3: append the facts of one micro-batch in one commit that names it."""
        facts.select(*COLUMNS).writeTo(self.facts).option(f"snapshot-property.{BATCH}", f"{query}:{batch_id}").append()

    def of_batch(self, query: str, batch_id: int) -> Snapshot | None:
        """The snapshot that a batch has appended, or None where it has not (yet)."""
        for found in self._history():
            name, _, number = (found.batch or "").rpartition(":")
            if name == query and int(number) <= batch_id:
                # The batches of a query come in order: behind an older one there is no newer.
                return found if int(number) == batch_id else None
        return None

    def current(self) -> Snapshot | None:
        """The newest snapshot, or None of an empty table."""
        return next(self._history(), None)

    def read(self, snapshot: Snapshot) -> DataFrame:
        """All facts as of a snapshot."""
        return self.session.read.option("versionAsOf", str(snapshot.id)).table(self.facts)

    def appended(self, snapshot: Snapshot) -> DataFrame:
        """The facts that one snapshot added."""
        if snapshot.parent is None:
            return self.read(snapshot)
        ends = {"start-snapshot-id": str(snapshot.parent), "end-snapshot-id": str(snapshot.id)}
        return self.session.read.options(**ends).table(self.facts)

    def between(self, after: int, newest: Snapshot) -> DataFrame | None:
        """The facts that were appended after one snapshot (its id) up to another; None where maintenance has not kept all in between."""
        return self.added(self.facts, after, newest.id)

    def added(self, table: str, after: int, newest: int) -> DataFrame | None:
        """What was appended to a table after one snapshot up to another; None where maintenance has not kept all in between."""
        known = newest
        for found in reversed(self.snapshots(table)):
            if found.id == known and known != after:
                if found.parent is None:
                    return None
                known = found.parent
        if known != after:
            return None
        if newest == after:
            return self.session.read.option("versionAsOf", str(newest)).table(table).where("false")
        ends = {"start-snapshot-id": str(after), "end-snapshot-id": str(newest)}
        return self.session.read.options(**ends).table(table)

    def epoch(self) -> int:
        """When the facts table was created, in microseconds: another lake has another one."""
        return int(self._table().properties()[EPOCH])

    def newest_of(self, table: str) -> int | None:
        """The id of a table's newest snapshot, or None of an empty table."""
        found = self._table(table).currentSnapshot()
        return None if found is None else int(found.snapshotId())

    def holds(self, table: str, snapshot: int) -> bool:
        """Whether maintenance has kept a snapshot."""
        return self._table(table).snapshot(snapshot) is not None

    def snapshots(self, table: str) -> list[Retained]:
        """The snapshots that a table still has, oldest first."""
        kept = self._table(table).snapshots()
        found = (kept[place] for place in range(len(kept)))
        return [Retained(each.snapshotId(), each.parentId(), from_ms(each.timestampMillis()), each.summary().get(BATCH)) for each in found]

    def _table(self, name: str | None = None) -> Any:
        jvm: Any = self.session._jvm
        try:
            table = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(self.session._jsparkSession, name or self.facts)
        except Exception as error:
            raise LakeError(f"the lake has no table {name or self.facts}; run `millrace process tables`") from error
        table.refresh()
        return table

    def _history(self) -> Iterator[Snapshot]:
        """Snapshots from the newest back, those that maintenance has kept."""
        table = self._table()
        epoch = int(table.properties()[EPOCH])
        # The history is one line. Maintenance leaves gaps in it, which parents would not lead across; the list is in the order of commits.
        kept = table.snapshots()
        for place in reversed(range(len(kept))):
            found = kept[place]
            summary = found.summary()
            added = summary.get("added-records")
            version = epoch + found.sequenceNumber()
            yield Snapshot(found.snapshotId(), found.parentId(), version, summary.get(BATCH), None if added is None else int(added))
