"""A scope as MongoDB's filter: never too narrow, and what is no payment by its types is in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from millrace_processors.scope import Scope

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_everything_is_filtered_by_nothing() -> None:
    assert Scope().filter() == {}
    assert Scope().instants() == {}


def test_a_time_asks_for_payments_and_for_refunds() -> None:
    time = {"$gte": START, "$lt": START + timedelta(hours=1, minutes=10)}
    (clause,) = Scope(START, START + timedelta(hours=1)).filter()["$and"]
    no_date = {"$not": {"$type": "date"}}
    refunded = [{"refundedAt": time}, {"refundedAt": no_date}]
    assert clause == {"$or": [{"paidAt": time}, {"refunds": {"$elemMatch": {"$or": refunded}}}, {"paidAt": no_date}]}


def test_merchants_are_named() -> None:
    (clause,) = Scope(merchants=("a", "b")).filter()["$and"]
    assert clause == {"$or": [{"merchantId": {"$in": ["a", "b"]}}, {"merchantId": {"$not": {"$type": "string"}}}]}
    assert len(Scope(START, None, ("a",)).filter()["$and"]) == 2
