"""Step 1: change events out of Kafka records, and what is wrong with those that are none (DataFrame -> DataFrame, pure).

Accepts the relay's envelope (``op``, ``before``, ``after``, ``source``) and the flattened document of Debezium's payments connector
(``__op``, ``__source_ts_ms``, ``__source_ord``, ``__source_order``, ``__deleted`` beside the fields); see contracts/changes.py.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.documents import PAYMENT_STATUSES
from millrace_contracts.sketches import LARGEST
from millrace_contracts.values.currencies import CODE_LENGTH
from millrace_processors.event_schema import CORRUPT, EVENT, IMAGE

OPS = ("c", "u", "d", "r")
EARLIEST_MS, LATEST_MS = 0, 4_102_444_800_000
"""1970 to 2100: instants outside are mistakes (seconds for milliseconds, say), not payments."""
TOKEN_TIME, TOKEN_ORDER = 18, 32
"""A resume token starts with 18 hex digits of type byte and cluster time; the next ones order the changes of one transaction."""
ORIGIN = ("value", "topic", "partition", "offset")


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
    events = parsed.select(
        "id",
        F.when(flat & deleted, F.lit("d")).when(flat, F.col("e.__op")).otherwise(F.col("e.op")).alias("op"),
        F.when(~flat & _usable(F.col("e.before")), F.col("e.before")).alias("before"),
        F.when(flat & ~deleted, flattened).when(~flat, F.col("e.after")).alias("after"),
        packed(F.coalesce("e.source.ts_ms", "e.__source_ts_ms"), F.coalesce("e.source.ord", "e.__source_ord")).alias("version"),
        F.coalesce(F.substring(F.col("e.source.token"), TOKEN_TIME + 1, TOKEN_ORDER), F.col("e.__source_order"), F.lit("")).alias(
            "version_order"
        ),
        F.col(f"e.{CORRUPT}").alias(CORRUPT),
        *(name for name in ORIGIN if name in parsed.columns),
    )
    return events.withColumn("reason", F.when(_suspect(), _reason())).drop(CORRUPT)


def packed(ts_ms: Column, ordinal: Column) -> Column:
    """A cluster time as contracts.changes.cluster_time packs it; Debezium's snapshot of an idle server has -1 for the ordinal."""
    seconds = F.floor(ts_ms / 1000)
    return F.shiftleft(seconds, 32).bitwiseOR(F.greatest(F.coalesce(ordinal, F.lit(0)), F.lit(0)).cast("bigint"))


def _suspect() -> Column:
    """A quick test that every unusable event fails; the exact reason is asked for only then."""
    after = F.col("after")
    fine = (
        F.col(CORRUPT).isNull()
        & F.col("version").isNotNull()
        & F.col("op").isin(*OPS)
        & F.when(F.col("op") == "d", F.lit(True)).otherwise(_usable(after))
    )
    return ~F.coalesce(fine, F.lit(False))


def _usable(image: Column) -> Column:
    """Whether the fields that the facts need are there and in range; false, not null, otherwise."""
    refunds = F.coalesce(F.forall(image["refunds"], _usable_refund), F.lit(True))
    texts = image["merchantId"].isNotNull() & image["_id"].isNotNull() & _currency(image["currency"])
    return F.coalesce(texts & _amount(image["amount"]) & _instant(image["paidAt"]) & _status(image["status"]) & refunds, F.lit(False))


def _usable_refund(refund: Column) -> Column:
    return F.coalesce(refund["id"].isNotNull() & _amount(refund["amount"]) & _instant(refund["refundedAt"]), F.lit(False))


def _currency(value: Column) -> Column:
    return F.length(value) == CODE_LENGTH


def _amount(value: Column) -> Column:
    return value.between(0, LARGEST)


def _instant(value: Column) -> Column:
    return value.between(EARLIEST_MS, LATEST_MS)


def _status(value: Column) -> Column:
    return value.isin(*PAYMENT_STATUSES)


def _reason() -> Column:
    """The first thing that is wrong, naming field, value and what was expected; null if nothing that counts is."""
    after, needed = F.col("after"), F.col("op") != "d"
    instant = "epoch milliseconds from 1970 to 2100"
    integer = f"an integer of minor units from 0 to {LARGEST}"
    checks = [
        (F.coalesce(~F.col("op").isin(*OPS), F.lit(True)), _says("op", f"one of {', '.join(OPS)} in a JSON object")),
        (F.col("version").isNull(), _says("source.ts_ms", "the cluster time in milliseconds")),
        (needed & after.isNull(), _says("after", "the document, an object")),
        *(
            (needed & F.coalesce(~good, F.lit(True)), _says(f"after.{field}", expected))
            for field, good, expected in (
                ("_id", after["_id"].isNotNull(), "text"),
                ("merchantId", after["merchantId"].isNotNull(), "text"),
                ("amount", _amount(after["amount"]), integer),
                ("currency", _currency(after["currency"]), "three letters"),
                ("status", _status(after["status"]), f"one of {', '.join(PAYMENT_STATUSES)}"),
                ("paidAt", _instant(after["paidAt"]), instant),
                (
                    "refunds",
                    F.coalesce(F.forall(after["refunds"], _usable_refund), F.lit(True)),
                    f"id, amount and refundedAt ({instant}) each",
                ),
            )
        ),
        *(
            (needed & _field(after, field).isNull() & _text(f"after.{field}").isNotNull(), _says(f"after.{field}", expected))
            for field, expected in (
                ("points.used", "an integer"),
                ("points.earned", "an integer"),
                ("user.birthYear", "a year"),
                ("user.device", "an object"),
                ("refunds", "a list"),
                ("user", "an object"),
                ("points", "an object"),
            )
        ),
    ]
    (first, text), *others = checks
    reason = F.when(first, text)
    for condition, text in others:
        reason = reason.when(condition, text)
    return reason


def _field(image: Column, path: str) -> Column:
    for name in path.split("."):
        image = image[name]
    return image


def _text(path: str) -> Column:
    """A value of the event as JSON has it; in Debezium's form the document's fields stand at the top."""
    value = F.col("value").cast("string")
    return F.coalesce(F.get_json_object(value, f"$.{path}"), F.get_json_object(value, f"$.{path.removeprefix('after.')}"))


def _says(path: str, expected: str) -> Column:
    shown = F.coalesce(F.substring(_text(path), 1, 200), F.lit("missing"))
    return F.concat(F.lit(f"{path.removeprefix('after.')} is "), shown, F.lit(f"; expected {expected}"))
