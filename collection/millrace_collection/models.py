"""The bodies of requests. Unknown fields are refused, numbers are never made from text (I10)."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic_core import PydanticCustomError

from millrace_collection.instants import Day, Instant
from millrace_collection.problems import CONTROL_CHARACTER
from millrace_contracts.values import currencies, zones
from millrace_contracts.values.identifiers import no_control, no_dot_segment, path_id

LARGEST_AMOUNT = 1_000_000_000_000
"""Minor units; no real payment is larger, and sums of a window stay far from 64 bits."""

LONGEST_USER_ID = 128


def _without_control(value: str) -> str:
    try:
        return no_control(value)
    except ValueError as error:
        raise PydanticCustomError(CONTROL_CHARACTER, "{reason}", {"reason": str(error)}) from None


Plain = AfterValidator(_without_control)
"""Of every text that is shown as it came."""
Identifier = Annotated[str, AfterValidator(path_id)]
"""An id that needs no escaping in a path."""
UserId = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_USER_ID), Plain, AfterValidator(no_dot_segment)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True), Plain]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256), Plain]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Status = Literal["pending", "succeeded", "failed", "canceled"]
Method = Literal["card", "bank_transfer", "wallet", "cash", "gift_card"]
Gender = Literal["female", "male", "other", "unknown"]
Amount = Annotated[int, Field(strict=True, ge=0, le=LARGEST_AMOUNT)]
RefundAmount = Annotated[int, Field(strict=True, ge=1, le=LARGEST_AMOUNT)]
Count = Annotated[int, Field(strict=True, ge=0, le=LARGEST_AMOUNT)]


Currency = Annotated[str, AfterValidator(currencies.checked)]
TimeZone = Annotated[str, AfterValidator(zones.checked)]


class Body(BaseModel):
    """Base of every body; attribute names are the JSON names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceBody(Body):
    """Where a payment was made."""

    type: Literal["pos", "mobile", "desktop", "tablet", "unknown"]
    os: Text | None = None

    def document(self) -> dict[str, str]:
        """The device as MongoDB holds it."""
        return {"type": self.type} if self.os is None else {"type": self.type, "os": self.os}


class PointsBody(Body):
    """Loyalty points used and earned."""

    used: Count = 0
    earned: Count = 0


class PaymentBody(Body):
    """A new payment; ``amount`` in minor units."""

    id: Identifier | None = None
    merchantId: Identifier
    userId: UserId | None = None
    amount: Amount
    currency: Currency
    method: Method
    points: PointsBody = PointsBody()
    status: Status = "succeeded"
    paidAt: Instant
    device: DeviceBody | None = None


class RefundBody(Body):
    """A refund of a payment; ``amount`` in minor units of the payment's currency."""

    id: Identifier | None = None
    amount: RefundAmount
    refundedAt: Instant


class StatusBody(Body):
    """A new status of a pending payment."""

    status: Literal["succeeded", "failed", "canceled"]


class PaymentLine(PaymentBody):
    """A bulk line that creates a payment."""

    op: Literal["payment"]


class RefundLine(Body):
    """A bulk line that refunds a payment."""

    op: Literal["refund"]
    paymentId: Identifier
    id: Identifier
    amount: RefundAmount
    refundedAt: Instant


class StatusLine(Body):
    """A bulk line that ends a pending payment."""

    op: Literal["status"]
    paymentId: Identifier
    status: Literal["succeeded", "failed", "canceled"]


Line = Annotated[Union[PaymentLine, RefundLine, StatusLine], Field(discriminator="op")]  # noqa: UP007
LINE: TypeAdapter[PaymentLine | RefundLine | StatusLine] = TypeAdapter(Line)


class LocationBody(Body):
    """Where a merchant is."""

    country: Country | None = None
    region: Text | None = None
    city: Text | None = None


class MerchantBody(Body):
    """A merchant as it is from now on."""

    name: Name
    currency: Currency
    timeZone: TimeZone
    grade: Text | None = None
    location: LocationBody | None = None
    businessType: Text | None = None
    status: Literal["active", "suspended", "closed"] = "active"


class UserBody(Body):
    """A user as they are from now on; e-mail, name, phone and date of birth never leave MongoDB (I12)."""

    email: Annotated[str, StringConstraints(max_length=320), Plain, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    name: Name | None = None
    phone: Annotated[str, StringConstraints(min_length=1, max_length=64), Plain] | None = None
    dateOfBirth: Day | None = None
    gender: Gender | None = None
    country: Country | None = None
    grade: Text | None = None
    device: DeviceBody | None = None
