"""One micro-batch of payments, steps 1 to 7 in order; safe to run again from any point (I5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_contracts.topics import dead_letter_topic
from millrace_processors import deadletters, decoding, facts, lookups, notices, progress, refresh
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.progress import LowWater, ProgressTable
from millrace_processors.refresh import Refreshed
from millrace_processors.settings import Config
from millrace_processors.steps import Steps

COLLECTION = "payments"
LOOKUP = "/lookup"


@dataclass(frozen=True)
class Outcome:
    """What one micro-batch did."""

    events: int
    dead_letters: int
    refreshed: Refreshed
    complete_through_ms: int | None
    steps: Steps = field(default_factory=Steps)


class PaymentsBatch:
    """Called with each micro-batch of the payments topic. Without a ``table`` it tells nobody how far it has come."""

    def __init__(
        self, config: Config, lake: Lake, table: ProgressTable | None, low_water: LowWater, mode: refresh.Mode = refresh.Mode.WRITE
    ) -> None:
        self._config, self._lake, self._table, self._low_water, self._mode = config, lake, table, low_water, mode
        # What was written before this driver came up may never have been told of; what it does again, it tells of again.
        self._epoch_due, self._lost = True, False

    def run(self, records: DataFrame, query: str, batch_id: int) -> Outcome:
        """Take one micro-batch through; everything is durable when it returns."""
        steps = Steps()
        with steps("tally"):
            found = progress.tally(records)
        dead, refreshed, version = 0, Refreshed(), 0
        through = self._low_water.advance(found.marks)
        if found.events:
            with steps("append"):
                events = decoding.decode(records.where(decoding.is_change()))
                snapshots, dead = self._append(events, query, batch_id)
            if snapshots:
                refreshed = refresh.touched(self._config, self._lake, snapshots, through, self._mode, steps)
                version = snapshots[-1].version
        with steps("progress"):
            self._tell(refreshed)
            if self._table is not None:
                self._table.save(PROGRESS_PAYMENTS, batch_id, version, self._low_water)
        return Outcome(found.events, dead, refreshed, through, steps)

    def _append(self, events: DataFrame, query: str, batch_id: int) -> tuple[list[Snapshot], int]:
        """Steps 1 to 3: the facts into the lake, what is bad into the dead letters; the snapshots that hold the batch."""
        done = self._lake.of_batch(query, batch_id)
        if done is None:
            seen = Observation()
            counted = events.observe(
                seen,
                F.count_if(F.col("reason").isNotNull()).alias("dead"),
                F.count_if(lookups.needed()).alias("lookups"),
            )
            self._lake.append(facts.derive(counted), query, batch_id)
            done = self._lake.of_batch(query, batch_id)
            dead, looked_up = seen.get["dead"], seen.get["lookups"]
        else:
            # An earlier run of this batch died behind its append: what came after that is done again.
            counts = events.agg(F.count_if(F.col("reason").isNotNull()), F.count_if(lookups.needed())).first()
            assert counts is not None
            dead, looked_up = counts
        if dead:
            topic = dead_letter_topic(self._config.names)
            deadletters.send(deadletters.letters(events, COLLECTION), self._config.kafka, topic)
        snapshots = [done, self._look_up(events, query, batch_id) if looked_up else None]
        return [each for each in snapshots if each is not None], dead

    def _look_up(self, events: DataFrame, query: str, batch_id: int) -> Snapshot | None:
        """Retract what changes without a before-image have left behind."""
        name = query + LOOKUP
        if self._lake.of_batch(name, batch_id) is None and (newest := self._lake.current()) is not None:
            gone = lookups.retractions(events.where(lookups.needed()), self._lake.read(newest))
            self._lake.append(gone, name, batch_id)
        return self._lake.of_batch(name, batch_id)

    def _tell(self, refreshed: Refreshed) -> None:
        """Where notices were lost, make every cached chunk stale instead, as soon as Redis is back."""
        self._lost = self._lost or refreshed.unnoticed > 0
        if self._epoch_due or self._lost:
            newest = self._lake.current()
            missed = (newest.version if newest else 0) + self._lost
            if notices.new_epoch(self._config.redis, self._config.names.redis_prefix, missed):
                self._epoch_due = self._lost = False
