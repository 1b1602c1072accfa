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
    formula: str
    """How it is computed over any range, in terms of report columns and facts."""


METRICS: tuple[Metric, ...] = (
    Metric("payments", Unit.COUNT, Kind.SUM, ("payments",), "Succeeded payments, at the time they were paid.", "sum(payments)"),
    Metric("gross", Unit.MONEY, Kind.SUM, ("gross",), "Sum of the amounts of succeeded payments.", "sum(gross)"),
    Metric("refunds", Unit.COUNT, Kind.SUM, ("refunds",), "Refunds, at the time of the refund.", "sum(refunds)"),
    Metric("refundedAmount", Unit.MONEY, Kind.SUM, ("refunded_amount",), "Sum of the amounts refunded.", "sum(refunded_amount)"),
    Metric(
        "net",
        Unit.MONEY,
        Kind.SUM,
        ("gross", "refunded_amount"),
        "Gross less the amount refunded in the same time.",
        "sum(gross) - sum(refunded_amount)",
    ),
    Metric(
        "averagePayment",
        Unit.MONEY,
        Kind.RATIO,
        ("gross", "payments"),
        "Gross by payments; null without a payment.",
        "sum(gross) / sum(payments), to the nearest minor unit, halves up",
    ),
    Metric(
        "refundRate",
        Unit.FRACTION,
        Kind.RATIO,
        ("refunded_amount", "gross"),
        "Refunded amount by gross; null without gross.",
        "sum(refunded_amount) / sum(gross)",
    ),
    Metric("failed", Unit.COUNT, Kind.SUM, ("failed",), "Payments that failed.", "sum(failed)"),
    Metric("pointsUsed", Unit.POINTS, Kind.SUM, ("points_used",), "Points that payers used.", "sum(points_used)"),
    Metric("pointsEarned", Unit.POINTS, Kind.SUM, ("points_earned",), "Points that payers earned.", "sum(points_earned)"),
    Metric(
        "smallest",
        Unit.MONEY,
        Kind.MIN,
        ("smallest", "payments"),
        "Smallest payment; null without a payment.",
        "min(smallest) of the reports with payments",
    ),
    Metric(
        "largest",
        Unit.MONEY,
        Kind.MAX,
        ("largest", "payments"),
        "Largest payment; null without a payment.",
        "max(largest) of the reports with payments",
    ),
    Metric(
        "medianAmount",
        Unit.MONEY,
        Kind.QUANTILE,
        ("amounts",),
        "Median payment, within 1 %.",
        "the 0.5-quantile of the merged amount histograms",
    ),
    Metric(
        "p95Amount",
        Unit.MONEY,
        Kind.QUANTILE,
        ("amounts",),
        "The amount that 95 % of payments do not exceed, within 1 %.",
        "the 0.95-quantile of the merged amount histograms",
    ),
    Metric(
        "customers",
        Unit.COUNT,
        Kind.UNIQUE,
        ("customers",),
        "Distinct customers; exact up to 4,096, then within 1.6 % (one standard error).",
        "the estimate of the union of the customer sketches",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}

CUSTOMER_METRICS: tuple[Metric, ...] = (
    Metric(
        "customers",
        Unit.COUNT,
        Kind.UNIQUE,
        ("customers",),
        "Distinct customers over all currencies, exact by day; of a range, exact up to 4,096 and then within 1.6 % (one standard error).",
        "of a day: customers; of a range: the estimate of the union of the customer sketches",
    ),
    Metric(
        "newCustomers",
        Unit.COUNT,
        Kind.SUM,
        ("new_customers",),
        "Customers whose first payment at the merchant falls on the day, exact.",
        "sum(new_customers)",
    ),
    Metric(
        "returningCustomers",
        Unit.COUNT,
        Kind.UNIQUE,
        ("returning_customers",),
        "Customers who paid before the day too, exact by day; of a range, those who are new on none of its days.",
        "of a day: customers - new_customers; of a range: its customers - sum(new_customers), at least 0",
    ),
)
"""Of each closed day of the merchant's calendar (reports.CUSTOMERS_TABLE), and of a range of such days."""
