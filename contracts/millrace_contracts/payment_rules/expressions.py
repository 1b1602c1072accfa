"""The rules as an expression of MongoDB on documents of the captured fields: which of them have facts, judged by MongoDB itself.

Expressions, not a filter: a filter looks into lists, so that ``["m"]`` would be text. A change event has dates as integers, since JSON has
none: the one is taken for the other here too. Symbols are text, as to MongoDB's own comparisons.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

from millrace_contracts.documents import PAYMENT_CAPTURED_FIELDS, PAYMENT_STATUSES
from millrace_contracts.payment_rules.rules import EARLIEST_MS, LATEST_MS, RULES, Kind, Rule
from millrace_contracts.sketches import LARGEST

Expression = dict[str, Any]
PROJECT: Expression = dict.fromkeys(PAYMENT_CAPTURED_FIELDS, 1)
"""What leaves MongoDB: a document is judged by it."""
_INTEGERS = ["int", "long", "date"]
_LEAST_YEAR, _MOST_YEAR = -(2**31), 2**31 - 1


def refused() -> Expression:
    """The field for which a document has no facts, and null if it may have some."""
    return {"$switch": {"branches": [{"case": {"$not": [_fits(rule)]}, "then": rule.path} for rule in RULES], "default": None}}


def instant(value: str) -> Expression:
    """A value that is an instant, as a date."""
    return {"$toDate": integer(value)}


def integer(value: str) -> Expression:
    """A value that is an integer, or a date as its epoch milliseconds."""
    return {"$toLong": value}


def _fits(rule: Rule) -> Expression:
    value = f"${rule.path}"
    return _KINDS[rule.kind](value) if rule.required else {"$or": [_is(value, "missing", "null", "undefined"), _KINDS[rule.kind](value)]}


def _is(value: str, *types: str) -> Expression:
    return {"$in": [{"$type": value}, list(types)]}


def _text(value: str) -> Expression:
    return _is(value, "string", "symbol")


def _between(least: int, most: int) -> Callable[[str], Expression]:
    def fits(value: str) -> Expression:
        # A condition, since conversions of other types fail, and all parts of an $and may be looked at.
        within = {"$and": [{"$gte": ["$$number", least]}, {"$lte": ["$$number", most]}]}
        number = {"$let": {"vars": {"number": {"$toLong": value}}, "in": within}}
        return {"$cond": [_is(value, *_INTEGERS), number, False]}

    return fits


_AMOUNT = _between(0, LARGEST)
_INSTANT = _between(EARLIEST_MS, LATEST_MS)


def _currency(value: str) -> Expression:
    # Not by a regular expression, which fails where a text is not UTF-8.
    short = {"$eq": [{"$strLenBytes": "$$code"}, 3]}
    letters = {"$eq": [{"$trim": {"input": "$$code", "chars": string.ascii_uppercase}}, ""]}
    fits = {"$let": {"vars": {"code": {"$toUpper": value}}, "in": {"$and": [short, letters]}}}
    return {"$cond": [_text(value), fits, False]}


def _refunds(value: str) -> Expression:
    refund = {"$and": [_text("$$refund.id"), _AMOUNT("$$refund.amount"), _INSTANT("$$refund.refundedAt")]}
    each = {"$map": {"input": value, "as": "refund", "in": refund}}
    return {"$cond": [{"$isArray": value}, {"$allElementsTrue": [each]}, False]}


_KINDS: dict[Kind, Callable[[str], Expression]] = {
    Kind.TEXT: _text,
    Kind.AMOUNT: _AMOUNT,
    Kind.CURRENCY: _currency,
    Kind.STATUS: lambda value: {"$in": [value, list(PAYMENT_STATUSES)]},
    Kind.INSTANT: _INSTANT,
    Kind.INTEGER: lambda value: _is(value, *_INTEGERS),
    Kind.YEAR: _between(_LEAST_YEAR, _MOST_YEAR),
    Kind.OBJECT: lambda value: _is(value, "object"),
    Kind.REFUNDS: _refunds,
}
