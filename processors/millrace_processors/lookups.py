"""Retractions that a change's own images do not tell of: the lake's own facts of those payments serve (DataFrame -> DataFrame, pure)."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_processors import facts as deriving
from millrace_processors.facts import COLUMNS, KEY

_FACT = ("fact_id", *KEY)


def needed() -> Column:
    """Whether a decoded event may have left facts behind that its own images do not tell of.

    An id with a slash had other fact ids in lakes from before they were escaped (contracts.facts).
    """
    without_image = F.col("before").isNull() & (F.col("op") != "c")
    return F.col("reason").isNull() & (without_image | F.contains("id", F.lit("/")))


def retractions(events: DataFrame, known: DataFrame) -> DataFrame:
    """What the events' payments had and no longer have.

    ``events``: decoded events for which ``needed`` holds. ``known``: the lake's facts, those of these events among them.
    """
    changes = events.select(F.col("id").alias("payment_id"), F.col("version").alias("at"), F.col("version_order").alias("at_order"))
    kept = deriving.derive(events).select("payment_id", *_FACT, F.col("version").alias("at"), F.col("version_order").alias("at_order"))
    older = (F.col("version") < F.col("at")) | ((F.col("version") == F.col("at")) & (F.col("version_order") < F.col("at_order")))
    state = F.struct("version", "version_order", "retracted", "kind", "occurred_at", "amount")
    had = known.join(changes, "payment_id").where(older).groupBy("payment_id", *_FACT, "at", "at_order").agg(F.max(state).alias("state"))
    gone = had.where(~F.col("state.retracted")).join(kept, ["payment_id", *_FACT, "at", "at_order"], "left_anti")
    columns = {
        **{name: F.col(name) for name in ("payment_id", *_FACT)},
        **{name: F.col(f"state.{name}") for name in ("kind", "occurred_at", "amount")},
        "version": F.col("at"),
        "version_order": F.col("at_order"),
        "retracted": F.lit(True),
        "points_used": F.lit(0).cast("bigint"),
        "points_earned": F.lit(0).cast("bigint"),
    }
    return gone.select(*(columns.get(name, F.lit(None).cast("string")).alias(name) for name in COLUMNS))
