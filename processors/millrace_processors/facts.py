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

    ``events``: decoding.decode's columns. A delete has no after-image: all of its before-image's facts are retracted.
    One row a slot of an image: 0 is the payment itself, 1 to n are its refunds. Plain numbers are exploded, not structs, so that the
    engine compiles the rest; higher-order functions run for the refunds of a before-image only. An event with a reason has no
    slots: a filter on the reason would be pushed below the parsing, which would then run once for every field that it names.
    """
    after, before = F.col("after"), F.col("before")
    slots = F.when(before.isNull(), _slots(after, 1)).otherwise(F.concat(_slots(after, 1), _slots(before, -1)))
    slots = F.when(F.col("reason").isNull(), slots)
    rows = events.select("id", "version", "version_order", "after", "before", F.explode(slots).alias("slot"))
    retracted = F.col("slot") < 0
    image = F.when(retracted, before).otherwise(after)
    made = rows.select(
        "id", "version", "version_order", "after", retracted.alias("retracted"), image.alias("image"),
        F.when(F.abs("slot") > 1, F.get(image["refunds"], F.abs("slot") - 2)).alias("refund"),
    )  # fmt: skip
    return _flat(made.where(~F.col("retracted") | ~_kept(after, F.col("image"), F.col("refund"))))


def _slots(image: Column, sign: int) -> Column:
    """sign * (slot + 1) of every fact of an image; an empty array for an image without facts."""
    none = F.array().cast("array<int>")
    paid = F.when(F.size(image["refunds"]) > 0, F.sequence(F.lit(sign), sign * (F.size(image["refunds"]) + 1), F.lit(sign)))
    facts = F.when(image["status"] == "succeeded", paid.otherwise(F.array(F.lit(sign)))).when(
        image["status"] == "failed", F.array(F.lit(sign))
    )
    return F.coalesce(facts, none)


def _kept(after: Column, image: Column, refund: Column) -> Column:
    """Whether the after-image has a fact with the key of this one of the before-image: (fact id, merchant, window, currency)."""
    place = (after["merchantId"] == image["merchantId"]) & (after["currency"] == image["currency"])
    payment = after["status"].isin("succeeded", "failed") & (_window(after["paidAt"]) == _window(image["paidAt"]))
    same_refund = F.exists(
        after["refunds"], lambda new: (new["id"] == refund["id"]) & (_window(new["refundedAt"]) == _window(refund["refundedAt"]))
    )
    return F.coalesce(place & F.when(refund.isNull(), payment).otherwise((after["status"] == "succeeded") & same_refund), F.lit(False))


def _window(at_ms: Column) -> Column:
    return at_ms - F.pmod(at_ms, F.lit(WINDOW_MS))


def _flat(made: DataFrame) -> DataFrame:
    """One row a fact, with the dimensions of the payment (contracts.facts.DIMENSIONS); a retraction needs none."""
    image, refund, retracted = F.col("image"), F.col("refund"), F.col("retracted")
    is_refund = refund.isNotNull()
    kind = F.when(is_refund, F.lit(REFUND)).when(image["status"] == "failed", F.lit(FAILURE)).otherwise(F.lit(PAYMENT))
    at_ms = F.when(is_refund, refund["refundedAt"]).otherwise(image["paidAt"])
    paid = ~is_refund & ~retracted & (image["status"] == "succeeded")

    def dimension(value: Column) -> Column:
        return F.when(paid, F.coalesce(value, F.lit(UNKNOWN)))

    def points(name: str) -> Column:
        return F.when(paid, F.coalesce(image["points"][name], F.lit(0))).otherwise(F.lit(0)).cast("bigint").alias(f"points_{name}")

    user, fact_id = image["user"], _fact_id(image["_id"])
    return made.select(
        F.when(is_refund, F.concat(fact_id, F.lit("/"), refund["id"])).otherwise(fact_id).alias("fact_id"),
        F.col("id").alias("payment_id"),
        kind.alias("kind"),
        image["merchantId"].alias("merchant_id"),
        F.timestamp_millis(_window(at_ms)).alias("window_start"),
        image["currency"].alias("currency"),
        F.timestamp_millis(at_ms).alias("occurred_at"),
        F.when(is_refund, refund["amount"]).otherwise(image["amount"]).alias("amount"),
        points("used"),
        points("earned"),
        F.when(paid, user["key"]).alias("customer_key"),
        dimension(image["method"]).alias("method"),
        dimension(user["gender"]).alias("gender"),
        dimension(_age_band(user["birthYear"], at_ms)).alias("age_band"),
        dimension(user["grade"]).alias("grade"),
        dimension(user["country"]).alias("country"),
        dimension(user["device"]["type"]).alias("device"),
        F.col("version"),
        F.col("version_order"),
        retracted.alias("retracted"),
    )


def _fact_id(payment: Column) -> Column:
    """contracts.facts.payment_fact_id, in the engine."""
    pointer = F.concat(F.lit("/"), F.replace(F.replace(payment, F.lit("~"), F.lit("~0")), F.lit("/"), F.lit("~1")))
    return F.when(F.contains(payment, F.lit("/")) | (payment == ""), pointer).otherwise(payment)


def _age_band(birth_year: Column, at_ms: Column) -> Column:
    """contracts.facts.age_band, in the engine; null where it says unknown."""
    age = F.year(F.timestamp_millis(at_ms)) - birth_year
    band = F.when(~age.between(0, 120), F.lit(None).cast("string"))
    for limit, name in zip(AGE_LIMITS, AGE_BANDS, strict=False):
        band = band.when(age < limit, F.lit(name))
    return band.when(age.isNotNull(), F.lit(AGE_BANDS[-1]))
