"""The documents of the source database, as MongoDB holds them (database ``commerce``).

Money is an integer of minor units (I10). Instants are BSON dates (I11). ``_id`` of a payment or merchant is 128 random
bits in base64url from the key generation service, or the caller's own id for a merchant; ``_id`` of a user is the
customer key: a keyed hash of the platform's user id, so that no raw user id is ever a message key (I12).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Literal, NotRequired, TypedDict

PAYMENTS = "payments"
MERCHANTS = "merchants"
USERS = "users"
API_KEYS = "apiKeys"
IDEMPOTENCY_KEYS = "idempotencyKeys"
SCHEMA_VERSION = 1

PAYMENT_STATUSES = ("pending", "succeeded", "failed", "canceled")
PAYMENT_METHODS = ("card", "bank_transfer", "wallet", "cash", "gift_card")
GENDERS = ("female", "male", "other", "unknown")
DEVICE_TYPES = ("pos", "mobile", "desktop", "tablet", "unknown")


class Device(TypedDict):
    """Where a payment was made."""

    type: str
    os: NotRequired[str]


class PaymentUser(TypedDict):
    """The payer as they were at the payment; ``id`` never leaves MongoDB, ``key`` is their customer key (I12).

    ``id`` and ``key`` come together; a payer who is not known has neither, and only a ``device``.
    """

    id: NotRequired[str]
    key: NotRequired[str]
    birthYear: NotRequired[int]
    gender: NotRequired[str]
    country: NotRequired[str]
    grade: NotRequired[str]
    device: NotRequired[Device]


class Refund(TypedDict):
    """A part of a payment given back; counts in the window of ``refundedAt``."""

    id: str
    amount: int
    refundedAt: object


class Points(TypedDict):
    """Loyalty points used and earned by a payment."""

    used: int
    earned: int


class Payment(TypedDict):
    """A payment document; dates are ``datetime`` in MongoDB and epoch milliseconds in a change event."""

    _id: str
    merchantId: str
    user: NotRequired[PaymentUser]
    amount: int
    currency: str
    method: str
    points: Points
    status: Literal["pending", "succeeded", "failed", "canceled"]
    paidAt: object
    refunds: list[Refund]
    createdAt: object
    updatedAt: object
    schemaVersion: int


PAYMENT_CAPTURED_FIELDS = (
    "_id",
    "merchantId",
    "user.key",
    "user.birthYear",
    "user.gender",
    "user.country",
    "user.grade",
    "user.device.type",
    "amount",
    "currency",
    "method",
    "points.used",
    "points.earned",
    "status",
    "paidAt",
    "refunds.id",
    "refunds.amount",
    "refunds.refundedAt",
    "schemaVersion",
)
"""The only payment fields that leave MongoDB (I12): the relay's server-side projection and Debezium's exclusion both follow it."""

MERCHANT_CAPTURED_FIELDS = (
    "_id",
    "name",
    "grade",
    "location",
    "businessType",
    "timeZone",
    "currency",
    "status",
    "createdAt",
    "updatedAt",
)
USER_SENSITIVE_FIELDS = ("userId", "email", "dateOfBirth", "name", "phone")
"""User fields that Debezium excludes at the source (I12)."""


def customer_key(secret: bytes, user_id: str) -> str:
    """The pseudonym of a user: the first 16 bytes of HMAC-SHA256(secret, user id), base64url without padding (22 characters)."""
    digest = hmac.new(secret, user_id.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
