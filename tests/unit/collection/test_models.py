"""Bodies: what is taken and what is refused, with the field's name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import example, given
from pydantic import ValidationError

from millrace_collection import models
from millrace_collection.instants import parse_instant
from millrace_collection.problems import from_validation
from millrace_contracts import documents
from millrace_contracts.values import instants
from tests.support.instant_texts import ALMOST_INSTANTS

GOOD = {"merchantId": "m1", "amount": 1, "currency": "EUR", "method": "card", "paidAt": "2026-03-01T09:30:00Z"}


def problem(model: type[models.Body], **changed: Any) -> Any:
    with pytest.raises(ValidationError) as error:
        model.model_validate({**GOOD, **changed} if model is models.PaymentBody else changed)
    return from_validation(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", -1),
        ("amount", 1.0),
        ("amount", "1"),
        ("amount", True),
        ("amount", None),
        ("amount", 10**12 + 1),
        ("currency", "eur"),
        ("currency", "XXX"),
        ("method", "gold"),
        ("status", "paid"),
        ("merchantId", "a/b"),
        ("merchantId", ""),
        ("id", "ä"),
        ("userId", ""),
        ("paidAt", "yesterday"),
        ("paidAt", "2026-03-01T09:30:00"),
        ("paidAt", 1_772_357_400),
        ("paidAt", 1.5e12),
        ("surprise", 1),
    ],
)
def test_a_wrong_field_is_named_with_its_value(field: str, value: object) -> None:
    found = problem(models.PaymentBody, **{field: value})
    assert found.status == 422
    assert [(error.field, error.value) for error in found.errors] == [(field, value)]
    assert field in found.detail


def test_nested_fields_are_named_by_their_path() -> None:
    found = problem(models.PaymentBody, points={"used": -1, "earned": "2"}, device={"type": "fridge"})
    assert [error.field for error in found.errors] == ["points.used", "points.earned", "device.type"]


def test_missing_fields_are_named() -> None:
    with pytest.raises(ValidationError) as error:
        models.PaymentBody.model_validate({})
    assert [item.field for item in from_validation(error.value).errors] == ["merchantId", "amount", "currency", "method", "paidAt"]


def test_the_value_of_a_sensitive_field_is_not_echoed() -> None:
    found = problem(models.UserBody, email="not-an-address", dateOfBirth="1990-13-01", gender="x")
    shown = [error.as_json() for error in found.errors]
    assert "value" not in shown[0]
    assert "value" not in shown[1]
    assert shown[2]["value"] == "x"


def test_a_long_value_is_cut() -> None:
    assert len(problem(models.PaymentBody, method="m" * 500).errors[0].as_json()["value"]) == 81


@pytest.mark.parametrize("name", ["Mars/Base", "posix/Asia/Tokyo", "right/Europe/Berlin", "posixrules", "localtime", "Factory"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    found = problem(models.MerchantBody, name="a", currency="EUR", timeZone=name)
    assert [error.field for error in found.errors] == ["timeZone"]
    assert "not an IANA time zone; take" in found.errors[0].message


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T09:30:00.25Z",
        "2026-03-01t09:30:00.25z",
        "2026-03-01T18:30:00.250+09:00",
        "2026-03-01 09:30:00.250999+00:00",
        1_772_357_400_250,
    ],
)
def test_an_instant_is_rfc_3339_or_epoch_milliseconds(value: object) -> None:
    assert parse_instant(value) == datetime(2026, 3, 1, 9, 30, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize("value", [True, None, "2026-03-01", "2026-02-30T00:00:00Z", "1999-12-31T23:59:59Z", 946_684_799_999, 10**15, []])
def test_what_is_no_instant_says_how_to_write_one(value: object) -> None:
    with pytest.raises(ValueError, match=r"write|milliseconds|before the year 2000"):
        parse_instant(value)


@given(ALMOST_INSTANTS)
@example("2026-11-24T09:30:00z")
@example("2016-12-31T23:59:60Z")
def test_texts_are_taken_as_the_contracts_parser_takes_them(text: str) -> None:
    """One grammar in all tiers: what this tier adds is the bound of 2000 and the cut to milliseconds."""

    def outcome(parse: Callable[[str], datetime]) -> datetime | str:
        try:
            return parse(text)
        except ValueError as refused:
            return str(refused)

    wanted = outcome(instants.parse_instant)
    if isinstance(wanted, datetime):
        wanted = wanted - timedelta(microseconds=wanted.microsecond % 1000) if wanted.year >= 2000 else "before the year 2000"
    assert outcome(parse_instant) == wanted


@pytest.mark.parametrize(
    "value", [0, "0", 20_000_101, 1.5, True, ["1990-05-17"], "19900517", "1990-W20-4", "1990-05-17T00:00:00Z", "1990-02-30"]
)
def test_a_date_of_birth_is_a_day_and_never_made_from_a_number(value: object) -> None:
    assert [error.field for error in problem(models.UserBody, dateOfBirth=value).errors] == ["dateOfBirth"]
    body = models.UserBody.model_validate_json(b'{"dateOfBirth": "1990-05-17"}')
    assert body.dateOfBirth == date(1990, 5, 17)


def test_the_values_are_those_of_the_contracts() -> None:
    assert get_args(models.Status) == documents.PAYMENT_STATUSES
    assert get_args(models.Method) == documents.PAYMENT_METHODS
    assert get_args(models.Gender) == documents.GENDERS
    assert get_args(models.DeviceBody.model_fields["type"].annotation) == documents.DEVICE_TYPES
