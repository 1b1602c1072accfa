"""What the retail data lacks, derived from ids by a stable hash: the same on every machine and at every start, never drawn at random.

Every value here is documented as derived in docs/demo-data.md.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import date

SECOND_CURRENCIES = ("CAD", "EUR")
"""Both have two decimal digits, as the US dollar has: the number of minor units is kept as it is."""
REFUND_SHARE = 30
"""Of 1,000 baskets."""
_DAY_MS = 86_400_000
_AGES = {"19-24": (19, 6), "25-34": (25, 10), "35-44": (35, 10), "45-54": (45, 10), "55-64": (55, 10), "65+": (65, 20)}


@dataclass(frozen=True)
class BasketTraits:
    """What is derived for one basket."""

    payment_id: str
    method: str
    device: str
    second_currency_draw: int
    """0 to 99; a basket below the store's share is paid in the store's second currency."""
    refund_after_ms: int | None
    """How long after the payment it is refunded; None where it is not."""
    refund_percent: int
    """Of the amount; 100 is a full refund."""


def digest(kind: str, identifier: int | str) -> bytes:
    """32 bytes that depend on the kind and the id only (BLAKE2b)."""
    return hashlib.blake2b(f"{kind}:{identifier}".encode(), digest_size=32, person=b"millrace-demo").digest()


def payment_id(basket: int) -> str:
    """128 bits in base64url, as the key generation service writes them."""
    return base64.urlsafe_b64encode(digest("basket", basket)[:16]).rstrip(b"=").decode()


def basket_traits(basket: int) -> BasketTraits:
    """Method, device, currency and refund of a basket."""
    data = digest("basket", basket)
    refunded = int.from_bytes(data[18:20], "big") % 1000 < REFUND_SHARE
    days = 1 + data[20] % 14
    return BasketTraits(
        payment_id=base64.urlsafe_b64encode(data[:16]).rstrip(b"=").decode(),
        method=_pick(data[16], ((140, "card"), (185, "cash"), (230, "wallet"), (246, "gift_card"), (256, "bank_transfer"))),
        device=_pick(data[17], ((230, "pos"), (256, "mobile"))),
        second_currency_draw=data[21] % 100,
        refund_after_ms=days * _DAY_MS + int.from_bytes(data[22:24], "big") * 300 if refunded else None,
        refund_percent=100 if data[24] < 128 else 10 + data[25] % 80,
    )


def second_currency(store: int) -> tuple[str, int] | None:
    """The second currency of about one store in eight and the percentage of its baskets paid in it; None for the others."""
    data = digest("store", store)
    return (SECOND_CURRENCIES[data[1] % 2], 10 + data[2] % 15) if data[0] < 32 else None


def gender(household: int) -> str:
    """The gender of the household's card holder."""
    return _pick(digest("household", household)[0], ((128, "female"), (243, "male"), (249, "other"), (256, "unknown")))


def date_of_birth(household: int, age: str, year: int) -> date:
    """A day on which somebody of the age band (``45-54``, ``65+``) may have been born, seen from ``year``.

    Raises:
        KeyError: no such band.
    """
    first, years = _AGES[age]
    data = digest("household", household)
    return date(year - first - data[1] % years, 1 + data[2] % 12, 1 + data[3] % 28)


def phone_os(household: int) -> str:
    """The household's telephone."""
    return "ios" if digest("household", household)[4] < 140 else "android"


def _pick(byte: int, limits: tuple[tuple[int, str], ...]) -> str:
    return next(value for limit, value in limits if byte < limit)
