"""Step 1: change events out of Kafka records, and what is wrong with those that are none (DataFrame -> DataFrame, pure).

Accepts the relay's envelope (``op``, ``before``, ``after``, ``source``) and the flattened document of Debezium's payments connector
(``__op``, ``__source_ts_ms``, ``__source_ord``, ``__source_order``, ``__deleted`` beside the fields); see contracts/changes.py.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.payment_rules.rules import Kind
from millrace_processors.event_schema import CORRUPT, EVENT, IMAGE
from millrace_processors.payment_rules import texts
from millrace_processors.payment_rules.columns import Image, accepted, plain, refusal

OPS = ("c", "u", "d", "r")
TOKEN_TIME, TOKEN_ORDER = 18, 32
"""A resume token starts with 18 hex digits of type byte and cluster time; the next ones order the changes of one transaction."""
ORIGIN = ("value", "topic", "partition", "offset")
_GONE, _GONE_ROOTS = "gone", ("$.before", "$")
"""The id of a document that was deleted, and where a change tells it."""


def is_low_water() -> Column:
    """Whether a Kafka record is a low-water marker: it has no key and says how far it reaches.

    The header says so too, but reading headers costs more than all the rest of a record.
    """
    return F.col("key").isNull() & F.get_json_object(F.col("value").cast("string"), "$.through_ms").isNotNull()


def is_change() -> Column:
    """Whether a Kafka record is a change event: neither a marker nor a tombstone (a key without a value, after a delete of Debezium)."""
    return F.col("value").isNotNull() & ~is_low_water()


def decode(records: DataFrame) -> DataFrame:
    """One row a change event: id, version, version_order, op, before, after, reason, and where it came from.

    ``records``: Kafka's columns, changes only. ``reason`` is null, or the sentence of the dead letter (I4): nothing else of such a row
    is to be trusted. A before-image that can not be used is null: it never gave facts that would have to be retracted.
    """
    parsed = records.select(
        F.col("key").cast("string").alias("id"),
        F.from_json(F.col("value").cast("string"), EVENT, {"columnNameOfCorruptRecord": CORRUPT, "mode": "PERMISSIVE"}).alias("e"),
        *(name for name in ORIGIN if name in records.columns),
    )
    flat, deleted = F.col("e.__op").isNotNull(), F.coalesce(F.col("e.__deleted") == "true", F.lit(False))
    flattened = F.struct(*(F.col(f"e.{name}").alias(name) for name in IMAGE.names))
    corrupt = F.col(f"e.{CORRUPT}")
    events = parsed.select(
        "id",
        F.when(flat & deleted, F.lit("d")).when(flat, F.col("e.__op")).otherwise(F.col("e.op")).alias("op"),
        F.when(~flat & accepted(Image(F.col("e.before"), _text(), ("$.before",)), corrupt), F.col("e.before")).alias("before"),
        F.when(flat & ~deleted, flattened).when(~flat, F.col("e.after")).alias("after"),
        packed(F.coalesce("e.source.ts_ms", "e.__source_ts_ms"), F.coalesce("e.source.ord", "e.__source_ord")).alias("version"),
        F.coalesce(F.substring(F.col("e.source.token"), TOKEN_TIME + 1, TOKEN_ORDER), F.col("e.__source_order"), F.lit("")).alias(
            "version_order"
        ),
        F.coalesce("e.before._id", "e._id").alias(_GONE),
        corrupt.alias(CORRUPT),
        *(name for name in ORIGIN if name in parsed.columns),
    )
    return events.withColumn("reason", F.when(_suspect(), _reason())).drop(CORRUPT, _GONE)


def packed(ts_ms: Column, ordinal: Column) -> Column:
    """A cluster time as contracts.changes.cluster_time packs it; Debezium's snapshot of an idle server has -1 for the ordinal."""
    seconds = F.floor(ts_ms / 1000)
    return F.shiftleft(seconds, 32).bitwiseOR(F.greatest(F.coalesce(ordinal, F.lit(0)), F.lit(0)).cast("bigint"))


def _suspect() -> Column:
    """Whether an event is unusable; what is wrong with it is asked for only then. A field that is wrong in another image counts too."""
    fine = (
        F.col(CORRUPT).isNull()
        & F.col("version").isNotNull()
        & F.col("op").isin(*OPS)
        & F.when(F.col("op") == "d", _named()).otherwise(plain(_after()))
    )
    return ~F.coalesce(fine, F.lit(False))


def _reason() -> Column:
    """The first thing that is wrong, naming field, value and what was expected; null if nothing that counts is."""
    event, needed = Image(F.col("after"), _text(), ("$",)), F.col("op") != "d"
    return (
        F.when(F.coalesce(~F.col("op").isin(*OPS), F.lit(True)), event.says("op", f"one of {', '.join(OPS)} in a JSON object"))
        .when(F.col("version").isNull(), event.says("source.ts_ms", "the cluster time in milliseconds"))
        .when(needed & F.col("after").isNull(), event.says("after", "the document, an object"))
        .when(needed, refusal(_after()))
        .when(~_named(), Image(F.col("before"), _text(), _GONE_ROOTS).says("_id", Kind.TEXT.value))
    )


def _named() -> Column:
    """Whether the id of a document that was deleted is text or not told: of an id of another type the key tells the text only."""
    exact = texts.all_text(_text(), [[f"{root}._id" for root in _GONE_ROOTS]])
    return F.when(texts.doubtful(F.col(_GONE)), exact).otherwise(True)


def _after() -> Image:
    """The after-image; in Debezium's form the document's fields stand at the top."""
    return Image(F.col("after"), _text(), ("$.after", "$"))


def _text() -> Column:
    return F.col("value").cast("string")
