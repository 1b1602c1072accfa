"""How far the analysis has come: low-water markers by partition and stream, and what every answer states of it (I13)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cassandra.cluster import Session
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from millrace_contracts.reports import PROGRESS_TABLE
from millrace_contracts.windows import from_ms
from millrace_processors.decoding import is_change, is_low_water

_MARK = "stream INT, streams INT, through_ms BIGINT"


@dataclass(frozen=True)
class Mark:
    """The newest low-water marker of one stream in one partition."""

    partition: int
    stream: int
    streams: int
    through_ms: int


@dataclass(frozen=True)
class Tally:
    """What a micro-batch holds before anything is decoded."""

    events: int
    marks: list[Mark]


def tally(records: DataFrame) -> Tally:
    """Count a batch's change events and find its newest markers; a light pass that parses no event."""
    mark = F.when(is_low_water(), F.from_json(F.col("value").cast("string"), _MARK)).alias("mark")
    rows = (
        records.select("partition", is_change().alias("change"), mark)
        .groupBy("partition", "mark.stream", "mark.streams")
        .agg(F.sum(F.col("change").cast("bigint")).alias("events"), F.max("mark.through_ms").alias("through_ms"))
        .collect()
    )
    marks = [Mark(row["partition"], row["stream"], row["streams"], row["through_ms"]) for row in rows if row["through_ms"] is not None]
    return Tally(sum(row["events"] for row in rows), marks)


@dataclass
class LowWater:
    """The markers seen so far. ``partitions``: how many the topic has; each must have spoken before anything is complete."""

    partitions: int
    complete_through_ms: int | None = None
    _seen: dict[int, tuple[int, dict[int, int]]] = field(default_factory=dict)

    def advance(self, marks: list[Mark]) -> int | None:
        """Take markers in; the instant up to which all changes have been seen, which never goes back."""
        for mark in sorted(marks, key=lambda each: each.through_ms):
            streams, through = self._seen.get(mark.partition, (mark.streams, {}))
            if streams != mark.streams:
                # Another number of streams: each of the new ones has to speak before the partition is complete again.
                through = {}
            through[mark.stream] = max(through.get(mark.stream, 0), mark.through_ms)
            self._seen[mark.partition] = (mark.streams, through)
        everyone = self._everyone()
        if everyone is not None:
            self.complete_through_ms = max(self.complete_through_ms or 0, everyone)
        return self.complete_through_ms

    def _everyone(self) -> int | None:
        lowest: list[int] = []
        for partition in range(self.partitions):
            streams, through = self._seen.get(partition, (1, {}))
            if len(through) < streams:
                return None
            lowest.append(min(through.values()))
        return min(lowest, default=None)

    def to_json(self) -> str:
        """For the progress table's ``detail``."""
        seen = {str(number): {"streams": streams, "through": through} for number, (streams, through) in sorted(self._seen.items())}
        return json.dumps({"partitions": seen})

    @classmethod
    def from_json(cls, text: str | None, partitions: int, complete_through_ms: int | None) -> LowWater:
        """What an earlier driver has left; nothing of it is needed, it only spares the wait for the next markers."""
        found = json.loads(text)["partitions"] if text else {}
        seen = {
            int(number): (entry["streams"], {int(stream): through for stream, through in entry["through"].items()})
            for number, entry in found.items()
        }
        return cls(partitions, complete_through_ms, seen)


class ProgressTable:
    """The progress rows in Cassandra, one a query."""

    def __init__(self, session: Session, keyspace: str) -> None:
        self._session = session
        table = f"{keyspace}.{PROGRESS_TABLE}"
        self._read = session.prepare(f"SELECT to_unix_timestamp(complete_through) AS through, detail FROM {table} WHERE name = ?")  # noqa: S608
        # Stamped with the instant itself: a driver that is behind can not take it back (I7).
        self._through = session.prepare(f"INSERT INTO {table} (name, complete_through) VALUES (?, ?) USING TIMESTAMP ?")  # noqa: S608 - a name of our own
        self._rest = session.prepare(
            f"INSERT INTO {table} (name, updated_at, batch_id, version, detail) VALUES (?, to_timestamp(now()), ?, ?, ?)"  # noqa: S608
        )

    def load(self, name: str, partitions: int) -> LowWater:
        """What was written last."""
        row = self._session.execute(self._read, (name,)).one()
        return LowWater.from_json(row.detail, partitions, row.through) if row else LowWater(partitions)

    def through(self, name: str) -> int | None:
        """Up to when every change is in what a query writes; None before the first completeness."""
        row = self._session.execute(self._read, (name,)).one()
        return row.through if row else None

    def save(self, name: str, batch_id: int, version: int, marks: LowWater) -> None:
        """Write it; only once the reports that it speaks of are in the store."""
        through = marks.complete_through_ms
        self._session.execute(self._rest, (name, batch_id, version, marks.to_json()))
        if through is not None:
            self._session.execute(self._through, (name, from_ms(through), through * 1000))
