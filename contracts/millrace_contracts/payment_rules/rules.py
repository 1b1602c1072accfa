"""What a payment has to be so that it has facts (I4): each field with its type, and the words in which it is refused.

A field is null or missing, or what its rule says; ``required`` fields have to be there. The order is that in which they are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from millrace_contracts.documents import PAYMENT_STATUSES
from millrace_contracts.sketches import LARGEST

EARLIEST_MS, LATEST_MS = 0, 4_102_444_800_000
"""1970 to 2100: instants outside are mistakes (seconds for milliseconds, say), not payments."""


class Kind(Enum):
    """What a value has to be; the value says it in words."""

    TEXT = "text"
    AMOUNT = f"an integer of minor units from 0 to {LARGEST}"
    CURRENCY = "three letters"
    STATUS = f"one of {', '.join(PAYMENT_STATUSES)}"
    INSTANT = "epoch milliseconds from 1970 to 2100"
    INTEGER = "an integer"
    YEAR = "a year"
    OBJECT = "an object"
    REFUNDS = f"a list of objects with id ({TEXT}), amount ({AMOUNT}) and refundedAt ({INSTANT})"


@dataclass(frozen=True)
class Rule:
    """A field by its path."""

    path: str
    kind: Kind
    required: bool = False


RULES = (
    Rule("_id", Kind.TEXT, required=True),
    Rule("merchantId", Kind.TEXT, required=True),
    Rule("amount", Kind.AMOUNT, required=True),
    Rule("currency", Kind.CURRENCY, required=True),
    Rule("status", Kind.STATUS, required=True),
    Rule("paidAt", Kind.INSTANT, required=True),
    Rule("refunds", Kind.REFUNDS),
    Rule("method", Kind.TEXT),
    Rule("points", Kind.OBJECT),
    Rule("points.used", Kind.INTEGER),
    Rule("points.earned", Kind.INTEGER),
    Rule("user", Kind.OBJECT),
    Rule("user.key", Kind.TEXT),
    Rule("user.birthYear", Kind.YEAR),
    Rule("user.gender", Kind.TEXT),
    Rule("user.country", Kind.TEXT),
    Rule("user.grade", Kind.TEXT),
    Rule("user.device", Kind.OBJECT),
    Rule("user.device.type", Kind.TEXT),
)
TEXTS = tuple(rule.path for rule in RULES if rule.kind is Kind.TEXT)
"""Texts, of which a JSON reader takes any other type too."""
