"""What the lake lacks of a state of the source, and what it has too much (DataFrame -> DataFrame, pure).

Only what differs is to be appended, at the version of the state: a fact that the lake has already, with this content, leaves the revision
of its window as it is, so that reports stay the same bytes (I6); and a newer change of the stream wins, whenever it comes (I5).
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.facts import DIMENSIONS
from millrace_processors.facts import COLUMNS, KEY

FACT = ("fact_id", *KEY)
_CONTENT = ("payment_id", "kind", "occurred_at", "amount", "points_used", "points_earned", "customer_key", *DIMENSIONS)
_TEXTS = ("customer_key", *DIMENSIONS)


def newest(facts: DataFrame) -> DataFrame:
    """fact id, key and the newest ``state`` of each fact of the lake."""
    state = F.struct("version", "version_order", "retracted", *_CONTENT)
    return facts.groupBy(*FACT).agg(F.max(state).alias("state"))


def changes(made: DataFrame, facts: DataFrame, at: int) -> DataFrame:
    """The facts and retractions to append.

    ``made``: the facts of the source's documents, each at the version that it was read at. ``facts``: those of the lake, of the same range.
    ``at``: the version of the source's state, at which what it has not is retracted.
    """
    ours = made.select(*FACT, F.struct("version", *_CONTENT).alias("made"))
    both = ours.join(newest(facts), list(FACT), "full")
    known, state = F.col("made"), F.col("state")
    told = ~F.coalesce(state["retracted"], F.lit(True)) & _content(known).eqNullSafe(_content(state))
    lacking = known.isNotNull() & ~told & (state.isNull() | (state["version"] < known["version"]))
    gone = known.isNull() & ~state["retracted"] & (state["version"] < at)
    return both.where(lacking | gone).select(*(_column(name, at).alias(name) for name in COLUMNS))


def _content(of: Column) -> Column:
    return F.struct(*(of[name] for name in _CONTENT))


def _column(name: str, at: int) -> Column:
    """A column of a fact that is lacking or, where the source has none, of the retraction of the lake's."""
    known, state = F.col("made"), F.col("state")
    if name in FACT:
        return F.col(name)
    if name == "version":
        return F.when(known.isNull(), F.lit(at).cast("bigint")).otherwise(known["version"])
    if name == "version_order":
        return F.lit("")
    if name == "retracted":
        return known.isNull()
    if name.startswith("points_"):
        return F.when(known.isNull(), F.lit(0).cast("bigint")).otherwise(known[name])
    if name in _TEXTS:
        return known[name]
    return F.when(known.isNull(), state[name]).otherwise(known[name])
