"""The metrics: one definition each, from which GraphQL, REST, OpenAPI, CSV and the docs are made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a metric combines over windows: only SUM may be added up by a reader."""

    SUM = "SUM"
    RATIO = "RATIO"
    UNIQUE = "UNIQUE"
    QUANTILE = "QUANTILE"
    MIN = "MIN"
    MAX = "MAX"


class Unit(StrEnum):
    """What a metric counts; MONEY is minor units of the report's currency."""

    COUNT = "COUNT"
    MONEY = "MONEY"
    POINTS = "POINTS"
    FRACTION = "FRACTION"


@dataclass(frozen=True)
class Metric:
    """A metric. ``name`` is camelCase as in GraphQL and REST; ``columns`` are the report columns that it is made of."""

    name: str
    unit: Unit
    kind: Kind
    columns: tuple[str, ...]
    doc: str


METRICS: tuple[Metric, ...] = (
    Metric("payments", Unit.COUNT, Kind.SUM, ("payments",), "Succeeded payments, at the time they were paid."),
    Metric("gross", Unit.MONEY, Kind.SUM, ("gross",), "Sum of the amounts of succeeded payments."),
    Metric("refunds", Unit.COUNT, Kind.SUM, ("refunds",), "Refunds, at the time of the refund."),
    Metric("refundedAmount", Unit.MONEY, Kind.SUM, ("refunded_amount",), "Sum of the amounts refunded."),
    Metric("net", Unit.MONEY, Kind.SUM, ("gross", "refunded_amount"), "Gross less the amount refunded in the same time."),
    Metric("averagePayment", Unit.MONEY, Kind.RATIO, ("gross", "payments"), "Gross by payments; null without a payment."),
    Metric(
        "refundRate",
        Unit.FRACTION,
        Kind.RATIO,
        ("refunded_amount", "gross"),
        "Refunded amount by gross; null without gross.",
    ),
    Metric("failed", Unit.COUNT, Kind.SUM, ("failed",), "Payments that failed."),
    Metric("pointsUsed", Unit.POINTS, Kind.SUM, ("points_used",), "Points that payers used."),
    Metric("pointsEarned", Unit.POINTS, Kind.SUM, ("points_earned",), "Points that payers earned."),
    Metric("smallest", Unit.MONEY, Kind.MIN, ("smallest", "payments"), "Smallest payment; null without a payment."),
    Metric("largest", Unit.MONEY, Kind.MAX, ("largest", "payments"), "Largest payment; null without a payment."),
    Metric("medianAmount", Unit.MONEY, Kind.QUANTILE, ("amounts",), "Median payment, within 1 %."),
    Metric(
        "p95Amount",
        Unit.MONEY,
        Kind.QUANTILE,
        ("amounts",),
        "The amount that 95 % of payments do not exceed, within 1 %.",
    ),
    Metric(
        "customers",
        Unit.COUNT,
        Kind.UNIQUE,
        ("customers",),
        "Distinct customers; exact up to 4,096, then within 1.6 % (one standard error).",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
