"""The places beside Kafka, lake and reports that an audit looks at: MongoDB's payments, and what the relay says that it wrote."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from millrace_contracts.changes import cluster_time
from millrace_contracts.topics import audit_topic
from millrace_processors import mongo_counts, relay_counts
from millrace_processors.errors import CommandError
from millrace_processors.mongo_counts import MongoCounts, TooOld
from millrace_processors.scope import Scope
from millrace_processors.settings import Config, SourceSettings

_MONGO = ("mongo_facts", "mongo_amount", "live_facts", "live_amount")
_RELAY = ("relay_events", "topic_events")
_FLAGS = ("of_mongo", "of_relay")


@dataclass(frozen=True)
class Places:
    """What was found there. ``mongo``, ``relay``: counts by window, None where they were left out, of which ``left_out`` says why."""

    config: Config
    session: SparkSession
    scope: Scope
    seconds: int
    mongo: MongoCounts | None = None
    relay: DataFrame | None = None
    left_out: list[str] = field(default_factory=list)

    def join(self, windows: DataFrame, facts: DataFrame, within: Column) -> DataFrame:
        """The windows of a comparison, also those that only these places know, with what they say, and whether it differs.

        ``facts``: the lake's, of the same range; ``within``: a condition on windows.
        """
        found = self._with_relay(self._with_mongo(windows, facts, within), within)
        asked = (*(_MONGO if self.mongo is not None else ()), *(_RELAY if self.relay is not None else ()))
        zero = [name for name in found.columns if name not in ("window_start", "example", *_FLAGS, *_MONGO, *_RELAY) or name in asked]
        return found.fillna(0, zero).fillna(False, list(_FLAGS))

    def _with_mongo(self, windows: DataFrame, facts: DataFrame, within: Column) -> DataFrame:
        if self.mongo is None:
            return _without(windows, _MONGO, "of_mongo")
        ours = self.mongo.of_lake(facts, cluster_time(self.seconds, 0))
        both = self.mongo.windows.where(within).join(ours, "window_start", "full").fillna(0)
        differs = (F.col("mongo_facts") != F.col("live_facts")) | (F.col("mongo_amount") != F.col("live_amount"))
        return windows.join(both.withColumn("of_mongo", differs), "window_start", "full")

    def _with_relay(self, windows: DataFrame, within: Column) -> DataFrame:
        if self.relay is None:
            return _without(windows, _RELAY, "of_relay")
        counts = self.relay.where(within).join(relay_counts.of_topic(self.config, self.session), "window_start", "left")
        theirs = counts.withColumn("of_relay", relay_counts.lost()).drop("relay_amount", "topic_amount")
        known = windows.select("*", F.lit(True).alias("known"))
        # Of a window without facts (its payments are pending) the relay alone speaks: it is one only if what was written is gone.
        return known.join(theirs, "window_start", "full").where("known OR of_relay").drop("known")


def look(config: Config, session: SparkSession, scope: Scope, through_ms: int) -> Places:
    """Look at MongoDB as it was when all was complete, and at the relay's counts; what can not be compared is left out, and said.

    Raises:
        CommandError: MongoDB's user is refused.
        UnavailableError: MongoDB does not answer.
    """
    left_out: list[str] = []
    seconds = through_ms // 1000
    mongo = relay = None
    if not config.source.truth_uri:
        left_out.append(f"MongoDB: {SourceSettings.variable('truth_uri')} is not set")
    else:
        try:
            mongo = mongo_counts.look(config, session, scope, seconds).persist()
        except TooOld:
            left_out.append("MongoDB: it no longer remembers what it held when all was complete; let the stream catch up, and audit again")
    if scope.merchants:
        left_out.append("the relay's counts: they know no merchants")
    else:
        try:
            relay = relay_counts.by_window(config, session)
        except CommandError:
            left_out.append(f"the relay's counts: there is no topic {audit_topic(config.names)}")
    return Places(config, session, scope, seconds, mongo, relay, left_out)


def _without(windows: DataFrame, names: tuple[str, ...], flag: str) -> DataFrame:
    return windows.select("*", *(F.lit(None).cast("bigint").alias(name) for name in names), F.lit(False).alias(flag))
