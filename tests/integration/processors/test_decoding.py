"""Events out of records: what is good in either form, and what is wrong with the rest, by name (I4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyspark.sql import SparkSession

from millrace_processors.decoding import decode, is_change, is_low_water
from tests.integration.processors.events import SECOND, T0, change, flattened, payment, records, refund

pytestmark = pytest.mark.stack

OID, OID_TEXT = {"$oid": "0123456789abcdef01234567"}, '{"$oid":"0123456789abcdef01234567"}'
BAD: list[tuple[str, tuple[str, str], str]] = [
    ("text amount", change("c", payment(amount="ten")), "amount is ten; expected an integer of minor units"),
    ("amount with a fraction", change("c", payment(amount=10.5)), "amount is 10.5; expected an integer"),
    ("negative amount", change("c", payment(amount=-1)), "amount is -1; expected an integer"),
    ("amount beyond the validator", change("c", payment(amount=10**12 + 1)), "amount is 1000000000001;"),
    ("text instant", change("c", payment(paidAt="yesterday")), "paidAt is yesterday; expected epoch milliseconds"),
    ("instant of the year 9999", change("c", payment(paidAt=253_370_764_800_000)), "paidAt is 253370764800000;"),
    ("no merchant", change("c", payment(merchantId=None)), "merchantId is missing; expected text"),
    ("unknown status", change("c", payment(status="maybe")), "status is maybe; expected one of pending, succeeded"),
    ("long currency", change("c", payment(currency="DOLLARS")), "currency is DOLLARS; expected three letters"),
    ("refund without amount", change("c", payment(refunds=[{"id": "r", "refundedAt": T0}])), 'refunds is [{"id":"r","refundedAt"'),
    ("refunds that are no list", change("c", payment(refunds={"id": "r"})), "refunds is "),
    ("text points", change("c", payment(points={"used": "many", "earned": 1})), "points.used is many; expected an integer"),
    ("text birth year", change("c", payment(user={"birthYear": "old"})), "user.birthYear is old; expected a year"),
    ("no JSON", ("p1", "{broken"), "op is missing; expected one of c, u, d, r"),
    ("unknown op", change("x", payment()), "op is x; expected one of c, u, d, r"),
    ("no document", change("c", None), "after is missing; expected the document"),
    ("no cluster time", ("p1", json.dumps({"op": "c", "after": payment()})), "source.ts_ms is missing"),
    ("merchant that is an ObjectId", change("c", payment(merchantId=OID)), f"merchantId is {OID_TEXT}; expected text"),
    ("merchant that is a number", change("c", payment(merchantId=42)), "merchantId is 42; expected text"),
    ("merchant that is a truth value", change("c", payment(merchantId=True)), "merchantId is true; expected text"),
    ("merchant that is an object", change("c", payment(merchantId={"id": "x"})), 'merchantId is {"id":"x"}; expected text'),
    ("merchant that is a list", change("c", payment(merchantId=["m"])), 'merchantId is ["m"]; expected text'),
    ("currency that is a number", change("c", payment(currency=840)), "currency is 840; expected three letters"),
    ("currency that is a list", change("c", payment(currency=[1])), "currency is [1]; expected three letters"),
    ("currency of digits", change("c", payment(currency="840")), "currency is 840; expected three letters"),
    ("currency and a line", change("c", payment(currency="USD\n")), "currency is USD\n; expected three letters"),
    ("method that is a number", change("c", payment(method=7)), "method is 7; expected text"),
    ("method that is a fraction", change("c", payment(method=-7.5e-9)), "method is -7.5E-9; expected text"),
    ("id that is a number", ("42", change("c", payment(_id=42))[1]), "_id is 42; expected text"),
    ("deleted id that is a number", ("42", change("d", None, payment(_id=42))[1]), "_id is 42; expected text"),
    ("deleted id that is told alone", ("42", change("d", None, {"_id": 42})[1]), "_id is 42; expected text"),
    ("flattened deleted id", ("42", flattened("d", payment(_id=42))[1]), "_id is 42; expected text"),
    ("refund's id that is a number", change("c", payment(refunds=[refund("r", 1, T0), {**refund("", 1, T0), "id": 7}])), "refunds is [{"),
    ("customer key that is an ObjectId", change("c", payment(user={"key": OID})), f"user.key is {OID_TEXT}; expected text"),
    ("gender that is false", change("c", payment(user={"gender": False})), "user.gender is false; expected text"),
    ("country that is a number", change("c", payment(user={"country": 840})), "user.country is 840; expected text"),
    ("grade that is a number", change("c", payment(user={"grade": 1})), "user.grade is 1; expected text"),
    ("device that is a list", change("c", payment(user={"device": ["pos"]})), 'user.device is ["pos"]; expected an object'),
    ("device's type", change("c", payment(user={"device": {"type": {"a": "b"}}})), 'user.device.type is {"a":"b"}; expected text'),
    ("flattened merchant", flattened("c", payment(merchantId=42)), "merchantId is 42; expected text"),
    ("flattened refund's id", flattened("c", payment(refunds=[{**refund("", 1, T0), "id": True}])), "refunds is [{"),
    ("flattened text amount", flattened("c", payment(amount="ten")), "amount is ten; expected an integer"),
]


def test_each_bad_event_gets_a_reason_that_names_field_value_and_expectation(spark: SparkSession) -> None:
    rows = decode(records(spark, [event for _, event, _ in BAD])).select("offset", "reason").orderBy("offset").collect()
    assert len(rows) == len(BAD)
    for (name, _, expected), row in zip(BAD, rows, strict=True):
        assert row["reason"] is not None, name
        assert expected in row["reason"], (name, row["reason"])


def test_a_text_that_reads_as_another_type_is_a_text(spark: SparkSession) -> None:
    texts = ["42", "-1.5e3", "true", "false", "null", "NaN", "{", '{"$oid":"a"}', "[1]", "", "1\u000142"]
    images = [payment(text, merchantId=text, method=text, refunds=[{**refund(text, 1, T0)}], user={"key": text}) for text in texts]
    events = [form(op, image) for image in images for form, op in ((change, "c"), (flattened, "r"))]
    events += [change("d", None, image) for image in images] + [flattened("d", image) for image in images]
    rows = decode(records(spark, events)).orderBy("offset").collect()
    assert [row["reason"] for row in rows] == [None] * len(events)
    assert [row["after"]["merchantId"] for row in rows[: 2 * len(texts)]] == [text for text in texts for _ in range(2)]


def test_a_before_image_gives_facts_exactly_if_it_did_when_it_was_the_after_image(spark: SparkSession) -> None:
    bad = [
        payment(merchantId=42),
        payment(user={"key": 1}),
        payment(points={"used": "x"}),
        payment(refunds=[{**refund("r", 1, T0), "id": 1}]),
    ]
    images = [*bad, payment("1", merchantId="42", user={"key": "1"}, method="7"), payment()]
    others = [payment(), payment(amount="ten")]
    rows = decode(records(spark, [change("u", other, image) for image in images for other in others])).orderBy("offset").collect()
    assert [row["before"] is not None for row in rows] == [number >= len(bad) for number in range(len(images)) for _ in others]


def test_both_forms_of_a_change_are_the_same_event(spark: SparkSession) -> None:
    document = payment(refunds=[refund("r1", 5, T0)])
    found = decode(records(spark, [change("u", document, at=7), flattened("u", document, at=7)]))
    envelope, debezium = found.select("id", "op", "after", "version", "reason").collect()
    assert envelope == debezium
    assert (envelope["op"], envelope["version"], envelope["reason"]) == ("u", SECOND << 32 | 7, None)
    assert envelope["after"]["refunds"][0].asDict() == {"id": "r1", "amount": 5, "refundedAt": T0}


def test_a_snapshot_of_debezium_without_an_ordinal_is_not_older_than_everything(spark: SparkSession) -> None:
    (row,) = decode(records(spark, [flattened("r", payment(), at=-1)])).collect()
    assert (row["version"], row["reason"]) == (SECOND << 32, None)


def test_a_delete_needs_no_document_in_either_form(spark: SparkSession) -> None:
    rows = decode(records(spark, [change("d", None, payment()), flattened("d", payment())])).collect()
    assert [(row["op"], row["after"], row["reason"]) for row in rows] == [("d", None, None), ("d", None, None)]


def test_a_before_image_that_is_no_payment_is_left_out_and_the_change_is_kept(spark: SparkSession) -> None:
    (row,) = decode(records(spark, [change("u", payment(), payment(amount="ten"))])).collect()
    assert (row["before"], row["reason"], row["after"]["amount"]) == (None, None, 100)


@pytest.mark.parametrize(
    ("key", "value", "low_water", "is_event"),
    [
        (None, '{"stream": 0, "streams": 1, "through_ms": 5, "ts_ms": 6}', True, False),
        ("p1", '{"through_ms": 5}', False, True),
        ("p1", None, False, False),
        (None, "what is this", False, True),
    ],
)
def test_markers_tombstones_and_events_are_told_apart(
    spark: SparkSession, key: str | None, value: str | None, low_water: bool, is_event: bool
) -> None:
    row: Any = records(spark, [(key, value)]).select(is_low_water().alias("m"), is_change().alias("e")).first()
    assert (bool(row["m"]), row["e"]) == (low_water, is_event)
