"""The views that may be asked, and what each of them is in terms of the lake. Pure.

A view is a SELECT over one of the lake's tables by its short name; ``rewriting`` puts the caller's rows (I9) and the range of time into
that SELECT itself, below everything else, and the table's full name for the short one.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contracts.facts import FAILURE, PAYMENT, REFUND
from millrace_contracts.values import zones

FACTS, MERCHANT_HISTORY = "facts", "merchants"


@dataclass(frozen=True)
class ViewColumn:
    """A column. ``everyone``: also merchants may read it; the others are for the roles operator and service."""

    name: str
    type: str
    doc: str
    expression: str
    everyone: bool = True


@dataclass(frozen=True)
class View:
    """``body`` follows the columns of a SELECT; ``source`` is the lake's table in it; ``timed``: whether that has ``window_start``."""

    name: str
    doc: str
    columns: tuple[ViewColumn, ...]
    body: str
    source: str
    timed: bool

    def readable(self, *, everything: bool) -> tuple[ViewColumn, ...]:
        """The columns of a caller."""
        return tuple(column for column in self.columns if everything or column.everyone)


_NEWEST = (
    "(SELECT *, row_number() OVER (PARTITION BY fact_id, merchant_id, window_start, currency ORDER BY version DESC, version_order DESC) "  # noqa: S608
    f"AS place FROM {FACTS}) AS newest WHERE place = 1 AND NOT retracted"
)
"""The newest version of each fact (I5), without those that were retracted."""


def _plain(name: str, kind: str, doc: str, *, everyone: bool = True) -> ViewColumn:
    return ViewColumn(name, kind, doc, name, everyone)


_KEY = (
    _plain("merchant_id", "string", "The merchant."),
    _plain("window_start", "timestamp", "Start of the 10-minute window (UTC)."),
    _plain("currency", "string", "ISO 4217; amounts are minor units of it and are never to be summed over currencies."),
)
_PAYMENTS = View(
    "payments",
    "What happened, one row a payment, failed payment or refund, as it is known now.",
    (
        _plain("payment_id", "string", "The payment; refunds carry that of theirs."),
        _plain("kind", "string", f"`{PAYMENT}`, `{FAILURE}` or `{REFUND}`."),
        *_KEY,
        _plain("occurred_at", "timestamp", "When it was paid, failed or was refunded (UTC)."),
        _plain("amount", "bigint", "Minor units of the currency."),
        _plain("points_used", "bigint", "Loyalty points used."),
        _plain("points_earned", "bigint", "Loyalty points earned."),
        _plain("method", "string", "How it was paid; null of refunds and failures, as are the columns below."),
        _plain("device", "string", "Kind of device."),
        _plain("grade", "string", "The customer's grade at the payment."),
        ViewColumn(
            "customer",
            "string",
            "A pseudonym of the customer, of this merchant alone: two merchants see different ones of the same person.",
            "sha2(concat(customer_key, '/', merchant_id), 256)",
        ),
        _plain("gender", "string", "The customer's gender.", everyone=False),
        _plain("age_band", "string", "The customer's age band.", everyone=False),
        _plain("country", "string", "The customer's country.", everyone=False),
    ),
    _NEWEST,
    FACTS,
    timed=True,
)


def _sum(name: str, kind: str, value: str, doc: str) -> ViewColumn:
    return ViewColumn(name, "bigint", doc, f"sum(CASE WHEN kind = '{kind}' THEN {value} ELSE 0 END)")


_PAID = f"CASE WHEN kind = '{PAYMENT}' THEN amount END"
_REPORTS = View(
    "reports",
    "One row a merchant, 10-minute window and currency, computed from the payments as they are known now.",
    (
        *_KEY,
        _sum("payments", PAYMENT, "1", "Succeeded payments."),
        _sum("gross", PAYMENT, "amount", "Sum of their amounts."),
        _sum("refunds", REFUND, "1", "Refunds, in the window in which they were made."),
        _sum("refunded_amount", REFUND, "amount", "Sum of the amounts refunded."),
        ViewColumn(
            "net",
            "bigint",
            "Gross less the amount refunded.",
            f"sum(CASE WHEN kind = '{PAYMENT}' THEN amount WHEN kind = '{REFUND}' THEN -amount ELSE 0 END)",
        ),
        _sum("failed", FAILURE, "1", "Failed payments."),
        ViewColumn("smallest", "bigint", "Smallest payment; 0 without a payment.", f"coalesce(min({_PAID}), 0)"),
        ViewColumn("largest", "bigint", "Largest payment; 0 without a payment.", f"coalesce(max({_PAID}), 0)"),
        _sum("points_used", PAYMENT, "points_used", "Loyalty points used."),
        _sum("points_earned", PAYMENT, "points_earned", "Loyalty points earned."),
        ViewColumn(
            "customers",
            "bigint",
            "Distinct customers, exact; not to be summed.",
            f"count(DISTINCT CASE WHEN kind = '{PAYMENT}' THEN customer_key END)",
        ),
    ),
    f"{_NEWEST} GROUP BY merchant_id, window_start, currency",
    FACTS,
    timed=True,
)
_ZONE = "get_json_object(document, '$.timeZone')"
# One merchant whose zone is none would otherwise fail every query that names it (documents can be written directly).
_LISTED = f"{_ZONE} IN ({', '.join(repr(name) for name in sorted(zones.names()))})"
_MERCHANTS = View(
    "merchants",
    "The merchants as they are now; no range of time applies.",
    (
        _plain("merchant_id", "string", "The merchant."),
        *(
            ViewColumn(name, "string", doc, f"get_json_object(document, '$.{path}')")
            for name, path, doc in (
                ("name", "name", "Its name."),
                ("grade", "grade", "Its grade."),
                ("country", "location.country", "Where it is."),
                ("region", "location.region", "Where it is."),
                ("city", "location.city", "Where it is."),
                ("business_type", "businessType", "What it sells."),
                ("currency", "currency", "Its usual currency."),
                ("status", "status", "Whether it is active."),
            )
        ),
        ViewColumn(
            "time_zone",
            "string",
            "Its IANA zone, for `from_utc_timestamp(window_start, time_zone)`; null where it has none that is known.",
            f"CASE WHEN {_LISTED} THEN {_ZONE} END",
        ),
        ViewColumn(
            "time_zone_remark",
            "string",
            "What is wrong with its zone; null if nothing is. Its days in reports are then those of UTC.",
            f"CASE WHEN {_ZONE} IS NOT NULL AND NOT ({_LISTED}) "
            f"THEN concat('merchant ', merchant_id, ': ', {_ZONE}, ' is not an IANA time zone; time_zone is null') END",
        ),
    ),
    "(SELECT *, row_number() OVER (PARTITION BY merchant_id ORDER BY version DESC, coalesce(version_order, '') DESC) AS place "  # noqa: S608
    f"FROM {MERCHANT_HISTORY}) AS newest WHERE place = 1 AND NOT deleted",
    MERCHANT_HISTORY,
    timed=False,
)
VIEWS = {view.name: view for view in (_PAYMENTS, _REPORTS, _MERCHANTS)}


def catalogue(*, everything: bool) -> list[dict[str, object]]:
    """The views of a caller with their columns, as REST and the command show them."""
    return [
        {
            "name": view.name,
            "doc": view.doc,
            "columns": [{"name": each.name, "type": each.type, "doc": each.doc} for each in view.readable(everything=everything)],
        }
        for view in VIEWS.values()
    ]
