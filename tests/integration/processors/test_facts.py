"""Facts and retractions, by hand (contracts/facts.py)."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from millrace_contracts.facts import age_band, payment_fact_id, refund_fact_id
from millrace_processors.decoding import decode
from millrace_processors.facts import COLUMNS, derive
from millrace_processors.lookups import needed, retractions
from tests.integration.processors.events import MINUTE, SECOND, T0, change, flattened, payment, records, refund
from tests.support.examples import examples

pytestmark = pytest.mark.stack


def derived(spark: SparkSession, *events: tuple[str, str]) -> set[tuple[Any, ...]]:
    """(fact id, kind, merchant, window in minutes from T0, currency, amount, retracted)."""
    frame = derive(decode(records(spark, list(events))))
    assert tuple(frame.columns) == COLUMNS
    return {brief(row) for row in frame.collect()}


def brief(row: Any) -> tuple[Any, ...]:
    minutes = (row["window_start"].replace(tzinfo=UTC).timestamp() * 1000 - T0) / MINUTE
    return row["fact_id"], row["kind"], row["merchant_id"], minutes, row["currency"], row["amount"], row["retracted"]


def test_a_succeeded_payment_with_refunds(spark: SparkSession) -> None:
    document = payment(refunds=[refund("r1", 30, T0 + 25 * MINUTE), refund("r2", 7, T0 + 9 * MINUTE)])
    assert derived(spark, change("c", document)) == {
        ("p1", "payment", "m", 0, "USD", 100, False),
        ("p1/r1", "refund", "m", 20, "USD", 30, False),
        ("p1/r2", "refund", "m", 0, "USD", 7, False),
    }


@pytest.mark.parametrize(("status", "kinds"), [("failed", {"failure"}), ("pending", set()), ("canceled", set())])
def test_other_states_of_a_payment(spark: SparkSession, status: str, kinds: set[str]) -> None:
    assert {fact[1] for fact in derived(spark, change("c", payment(status=status)))} == kinds


def test_a_moved_payment_is_retracted_where_it_was(spark: SparkSession) -> None:
    before = payment(refunds=[refund("r1", 5, T0)])
    after = payment(refunds=[refund("r1", 5, T0)], paidAt=T0 + 31 * MINUTE)
    assert derived(spark, change("u", after, before)) == {
        ("p1", "payment", "m", 30, "USD", 100, False),
        ("p1/r1", "refund", "m", 0, "USD", 5, False),
        ("p1", "payment", "m", 0, "USD", 100, True),
    }


@pytest.mark.parametrize("change_of", [{"merchantId": "m2"}, {"currency": "EUR"}])
def test_another_merchant_or_currency_moves_every_fact(spark: SparkSession, change_of: dict[str, str]) -> None:
    before = payment(refunds=[refund("r1", 5, T0)])
    found = derived(spark, change("u", {**before, **change_of}, before))
    merchant, currency = change_of.get("merchantId", "m"), change_of.get("currency", "USD")
    assert found == {
        ("p1", "payment", merchant, 0, currency, 100, False),
        ("p1/r1", "refund", merchant, 0, currency, 5, False),
        ("p1", "payment", "m", 0, "USD", 100, True),
        ("p1/r1", "refund", "m", 0, "USD", 5, True),
    }


def test_a_refund_that_is_gone_and_one_that_moved_are_retracted(spark: SparkSession) -> None:
    before = payment(refunds=[refund("r1", 5, T0), refund("r2", 6, T0)])
    after = payment(refunds=[refund("r2", 6, T0 + 15 * MINUTE)])
    assert derived(spark, change("u", after, before)) == {
        ("p1", "payment", "m", 0, "USD", 100, False),
        ("p1/r2", "refund", "m", 10, "USD", 6, False),
        ("p1/r1", "refund", "m", 0, "USD", 5, True),
        ("p1/r2", "refund", "m", 0, "USD", 6, True),
    }


def test_a_deleted_payment_leaves_nothing(spark: SparkSession) -> None:
    before = payment(refunds=[refund("r1", 5, T0)])
    assert derived(spark, change("d", None, before)) == {
        ("p1", "payment", "m", 0, "USD", 100, True),
        ("p1/r1", "refund", "m", 0, "USD", 5, True),
    }


def test_the_dimensions_of_a_payment_and_of_one_that_says_nothing(spark: SparkSession) -> None:
    names = ("customer_key", "method", "gender", "age_band", "grade", "country", "device", "points_earned", "version", "version_order")
    events = [change("c", payment(), at=9), change("c", {**payment("p2"), "user": None, "points": None, "method": None})]
    rows = {row["fact_id"]: row for row in derive(decode(records(spark, events))).collect()}
    # T0 is in 2025, 35 years after 1990.
    assert [rows["p1"][name] for name in names[:-1]] == ["k1", "card", "female", "35-44", "gold", "US", "pos", 1, SECOND << 32 | 9]
    assert rows["p1"]["version_order"] == "2B022C0100296E5A100463F1E0C1E5B0"
    assert [rows["p2"][name] for name in names[:8]] == [None, *["unknown"] * 6, 0]


def test_the_engines_fact_ids_are_those_of_the_contract(spark: SparkSession) -> None:
    texts = ["".join(each) for length in (1, 2, 3) for each in itertools.product("A/~1", repeat=length)]
    events = [change("c", payment(each, refunds=[refund(other, 1, T0) for other in ("", *texts[::7])])) for each in ("", *texts)]
    found = {(row["payment_id"], row["kind"], row["fact_id"]) for row in derive(decode(records(spark, events))).collect()}
    expected = {(each, "payment", payment_fact_id(each)) for each in ("", *texts)}
    expected |= {(each, "refund", refund_fact_id(each, other)) for each in ("", *texts) for other in ("", *texts[::7])}
    assert found == expected
    assert len({row[2] for row in found}) == len(found) == (len(texts) + 1) * 14


@given(st.lists(st.tuples(st.none() | st.integers(1880, 2040), st.integers(1970, 2099)), min_size=1, max_size=60))
@settings(max_examples=examples(4), deadline=None)
def test_the_engines_age_bands_are_those_of_the_contract(spark: SparkSession, cases: list[tuple[int | None, int]]) -> None:
    events = [
        change("c", payment(f"p{number}", user={"birthYear": born}, paidAt=int(datetime(year, 6, 1, tzinfo=UTC).timestamp() * 1000)))
        for number, (born, year) in enumerate(cases)
    ]
    found = {row["fact_id"]: row["age_band"] for row in derive(decode(records(spark, events))).collect()}
    assert found == {f"p{number}": age_band(born, year) for number, (born, year) in enumerate(cases)}


def test_a_change_without_a_before_image_retracts_what_the_lake_knows_of_the_payment(spark: SparkSession) -> None:
    first = flattened("c", payment(refunds=[refund("r1", 5, T0)]), at=1)
    moved = flattened("u", payment(paidAt=T0 + 10 * MINUTE), at=2)
    deleted = flattened("d", payment(), at=3)
    for later, expected in (
        (moved, {("p1", "payment", "m", 0, "USD", 100, True), ("p1/r1", "refund", "m", 0, "USD", 5, True)}),
        (deleted, {("p1", "payment", "m", 0, "USD", 100, True), ("p1/r1", "refund", "m", 0, "USD", 5, True)}),
    ):
        events = decode(records(spark, [later]))
        known = derive(decode(records(spark, [first, later])))
        gone = retractions(events.where(needed()), known).collect()
        assert {brief(row) for row in gone} == expected
        assert {row["version"] for row in gone} == {SECOND << 32 | (2 if later is moved else 3)}


def test_a_lookup_passes_over_what_is_newer_or_retracted_already(spark: SparkSession) -> None:
    here, there = payment(), payment(paidAt=T0 + 10 * MINUTE)
    known = derive(decode(records(spark, [change("c", here, at=1), change("u", there, here, at=2), change("u", here, there, at=5)])))
    late = decode(records(spark, [flattened("u", there, at=3)]))
    # At 3 the payment was where it had moved to at 2; what came at 5 is none of its business.
    assert retractions(late.where(needed()), known).collect() == []
