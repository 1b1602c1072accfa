"""Facts: what a payment's after-image says happened, each in one 10-minute window of one merchant and currency.

A fact's key is (fact id, merchant, window, currency); its newest ``Version`` wins (I5). A fact that a newer image no longer
has is retracted: the same key at the newer version with ``retracted`` = true. A payment that moves to another window
is thus a retraction in the old window and a fact in the new one, and each window stays a pure function of its own rows (I6).

| status of the payment | facts |
| succeeded | payment at paidAt, one refund at refundedAt for each refund |
| failed | failure at paidAt |
| pending, canceled | none |
"""

from __future__ import annotations

from typing import Final

PAYMENT: Final = "payment"
FAILURE: Final = "failure"
REFUND: Final = "refund"

DIMENSIONS: Final = ("method", "gender", "age_band", "grade", "country", "device")
"""The breakdowns of a report; a payment without the value counts under ``unknown``."""
UNKNOWN: Final = "unknown"

AGE_BANDS: Final = ("0-17", "18-24", "25-34", "35-44", "45-54", "55-64", "65+")
AGE_LIMITS: Final = (18, 25, 35, 45, 55, 65)


def payment_fact_id(payment_id: str) -> str:
    """Fact id of a payment or of its failure: the payment's id.

    A slash ends the payment's id in a refund's fact id. So an id that holds one, or is empty, is written as the first token of a JSON
    pointer (RFC 6901): ``A/B`` is ``/A~1B``. No fact id of another payment begins with a slash.
    """
    if payment_id and "/" not in payment_id:
        return payment_id
    return "/" + payment_id.replace("~", "~0").replace("/", "~1")


def refund_fact_id(payment_id: str, refund_id: str) -> str:
    """Fact id of one refund of a payment."""
    return f"{payment_fact_id(payment_id)}/{refund_id}"


def age_band(birth_year: int | None, year_of_payment: int) -> str:
    """Age band from calendar years only (the day of birth never leaves MongoDB); ``unknown`` outside 0 to 120."""
    if birth_year is None:
        return UNKNOWN
    age = year_of_payment - birth_year
    if not 0 <= age <= 120:
        return UNKNOWN
    return AGE_BANDS[sum(age >= limit for limit in AGE_LIMITS)]
