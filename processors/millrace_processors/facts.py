"""Step 2: facts and retractions out of change events (DataFrame -> DataFrame, pure); see contracts/facts.py."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.facts import AGE_BANDS, AGE_LIMITS, FAILURE, PAYMENT, REFUND, UNKNOWN
from millrace_contracts.windows import WINDOW_MS

COLUMNS = (
    "fact_id", "payment_id", "kind", "merchant_id", "window_start", "currency", "occurred_at", "amount", "points_used", "points_earned",
    "customer_key", "method", "gender", "age_band", "grade", "country", "device", "version", "version_order", "retracted",
)  # fmt: skip
"""The columns of the lake's facts table, in order."""
KEY = ("merchant_id", "window_start", "currency")
"""What one report is about."""


def derive(events: DataFrame) -> DataFrame:
    """Facts of each event's after-image, and retractions of those of its before-image that the after-image no longer has.

    ``events``: decoding.decode's columns without a reason. A delete has no after-image: all of its before-image's facts are retracted.
    """
    after, before = F.col("after"), F.col("before")
    entries = events.select(
        "id", "version", "version_order", "after",
        F.coalesce(_entries(after, retracted=False), F.array()).alias("made"),
        F.when(before.isNotNull(), _entries(before, retracted=True)).alias("had"),
    )  # fmt: skip
    gone = F.filter("had", lambda old: ~F.exists("made", lambda new: _same(old, new)))
    both = F.when(F.col("had").isNull(), F.col("made")).otherwise(F.concat("made", gone))
    return _flat(entries.select("id", "version", "version_order", "after", F.explode(both).alias("f")))


def _entries(image: Column, *, retracted: bool) -> Column:
    """The facts of an image as an array of structs."""
    kind = F.when(image["status"] == "succeeded", F.lit(PAYMENT)).when(image["status"] == "failed", F.lit(FAILURE))

    def entry(fact_id: Column, what: Column, at: Column, amount: Column) -> Column:
        return F.struct(
            fact_id.alias("fact_id"), what.alias("kind"), image["merchantId"].alias("merchant_id"), image["currency"].alias("currency"),
            (at - F.pmod(at, F.lit(WINDOW_MS))).alias("window_ms"), at.alias("at_ms"), amount.alias("amount"),
            F.lit(retracted).alias("retracted"),
        )  # fmt: skip

    paid = F.array(entry(image["_id"], kind, image["paidAt"], image["amount"]))
    refunds = F.transform(
        image["refunds"],
        lambda refund: entry(F.concat(image["_id"], F.lit("/"), refund["id"]), F.lit(REFUND), refund["refundedAt"], refund["amount"]),
    )
    with_refunds = F.when(F.size(image["refunds"]) > 0, F.concat(paid, refunds)).otherwise(paid)
    return F.when(image["status"] == "succeeded", with_refunds).when(kind.isNotNull(), paid)


def _same(old: Column, new: Column) -> Column:
    """Whether two facts have the same key: (fact id, merchant, window, currency)."""
    return (
        (old["fact_id"] == new["fact_id"])
        & (old["merchant_id"] == new["merchant_id"])
        & (old["window_ms"] == new["window_ms"])
        & (old["currency"] == new["currency"])
    )


def _flat(exploded: DataFrame) -> DataFrame:
    """One row a fact, with the dimensions of the payment (contracts.facts.DIMENSIONS); a retraction needs none."""
    after, fact = F.col("after"), F.col("f")
    paid = (fact["kind"] == PAYMENT) & ~fact["retracted"]

    def dimension(value: Column) -> Column:
        return F.when(paid, F.coalesce(value, F.lit(UNKNOWN)))

    return exploded.select(
        fact["fact_id"].alias("fact_id"),
        F.col("id").alias("payment_id"),
        fact["kind"].alias("kind"),
        fact["merchant_id"].alias("merchant_id"),
        F.timestamp_millis(fact["window_ms"]).alias("window_start"),
        fact["currency"].alias("currency"),
        F.timestamp_millis(fact["at_ms"]).alias("occurred_at"),
        fact["amount"].alias("amount"),
        F.when(paid, F.coalesce(after["points"]["used"], F.lit(0))).otherwise(F.lit(0)).cast("bigint").alias("points_used"),
        F.when(paid, F.coalesce(after["points"]["earned"], F.lit(0))).otherwise(F.lit(0)).cast("bigint").alias("points_earned"),
        F.when(paid, after["user"]["key"]).alias("customer_key"),
        dimension(after["method"]).alias("method"),
        dimension(after["user"]["gender"]).alias("gender"),
        dimension(_age_band(after["user"]["birthYear"], fact["at_ms"])).alias("age_band"),
        dimension(after["user"]["grade"]).alias("grade"),
        dimension(after["user"]["country"]).alias("country"),
        dimension(after["user"]["device"]["type"]).alias("device"),
        F.col("version"),
        F.col("version_order"),
        fact["retracted"].alias("retracted"),
    )


def _age_band(birth_year: Column, at_ms: Column) -> Column:
    """contracts.facts.age_band, in the engine; null where it says unknown."""
    age = F.year(F.timestamp_millis(at_ms)) - birth_year
    band = F.when(~age.between(0, 120), F.lit(None).cast("string"))
    for limit, name in zip(AGE_LIMITS, AGE_BANDS, strict=False):
        band = band.when(age < limit, F.lit(name))
    return band.when(age.isNotNull(), F.lit(AGE_BANDS[-1]))
