"""What the lake lacks of MongoDB's payments as they are now, found by the path that the stream's events take (I6)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from millrace_contracts.changes import cluster_time
from millrace_contracts.documents import PAYMENTS
from millrace_contracts.payment_rules import expressions
from millrace_contracts.topics import dead_letter_topic
from millrace_processors import deadletters, decoding, facts, mongo_source, reconciling
from millrace_processors.facts import COLUMNS
from millrace_processors.lake import Lake
from millrace_processors.scope import Scope
from millrace_processors.settings import Config

QUERY = "reprocess/mongo"
"""Names the commits of what MongoDB had and the lake had not."""


@dataclass
class Lacking:
    """What is to be appended to the lake (``changes``: its columns, kept until ``close``), and from how many documents that was found.

    ``unusable``: events of the documents that are none, with their reasons; None where there is none.
    """

    changes: DataFrame
    unusable: DataFrame | None
    documents: int
    undecodable: int
    corrected: int
    retracted: int

    def append(self, config: Config, lake: Lake) -> None:
        """Put it into the lake, and what is bad into the dead letters (I4)."""
        if self.unusable is not None:
            letters = deadletters.letters(self.unusable, PAYMENTS)
            deadletters.send(letters, config.kafka, dead_letter_topic(config.names))
        if self.corrected + self.retracted:
            lake.append(self.changes, QUERY, time.time_ns() // 1000)

    def close(self) -> None:
        """Let go of what was kept."""
        self.changes.unpersist()
        if self.unusable is not None:
            self.unusable.unpersist()


def lacking(config: Config, lake: Lake, scope: Scope, windows: Column | None = None) -> Lacking:
    """Compare MongoDB's payments with the lake's facts of a scope, or of some windows of it.

    Raises:
        CommandError: MongoDB's user is not named or refused.
        UnavailableError: MongoDB does not answer.
    """
    with mongo_source.opened(config) as database:
        # What is refused is read wherever it is: its payment may have had facts in the scope, and is not gone.
        wanted = {"$or": [scope.filter(), {"$expr": {"$ne": [expressions.refused(), None]}}]}
        plan = mongo_source.plan(config, database, wanted)
    condition = scope.condition() if windows is None else scope.condition() & windows
    # The lake after MongoDB: what came into it meanwhile is newer than the state, and stays.
    newest, at = lake.current(), cluster_time(*plan.at)
    seen = Observation()
    events = decoding.decode(mongo_source.records(lake.session, plan))
    made = facts.derive(events.observe(seen, F.count("*").alias("all"), F.count("reason").alias("bad"))).where(condition)
    held = made.where("false") if newest is None else lake.read(newest).where(condition)
    changes = reconciling.changes(made, held, at).select(*COLUMNS).persist()
    sums = changes.agg(F.count_if(~F.col("retracted")), F.count_if("retracted")).first()
    assert sums is not None
    counts = _counted(seen, events)
    if not counts["bad"]:
        return Lacking(changes, None, counts["all"], 0, *sums)
    bad = events.where("reason IS NOT NULL").persist()
    # What can not be decoded is not gone: its payments keep the facts that they had, as they do in the stream. An id of another type
    # has had none: those are of a payment whose id is the same as text.
    unclear = bad.where(~F.col("reason").startswith("_id is ")).select(F.col("id").alias("payment_id"))
    kept = changes.join(unclear, "payment_id", "left_anti").select(*COLUMNS).persist()
    sums = kept.agg(F.count_if(~F.col("retracted")), F.count_if("retracted")).first()
    assert sums is not None
    changes.unpersist()
    return Lacking(kept, bad, counts["all"], counts["bad"], *sums)


def _counted(seen: Observation, events: DataFrame) -> dict[str, int]:
    """What was observed. Where no fact came out, adaptive execution drops the observed part of the plan, and nothing was: count it then."""
    try:
        return dict(seen.get)
    except (Py4JError, PySparkException):
        row = events.agg(F.count("*").alias("all"), F.count("reason").alias("bad")).first()
        assert row is not None
        return row.asDict()
