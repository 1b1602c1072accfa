"""The commands of a load: a pure function of its settings and seed, one command a call."""

from __future__ import annotations

import base64
import hashlib
import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from millrace_stack.load.client import Line

METHODS = ("card", "wallet", "cash", "bank_transfer", "gift_card")
DEVICES = ("pos", "mobile", "desktop", "tablet")
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Traffic:
    """Shape of a load. Shares are fractions of the commands; ``skew`` is the exponent of Zipf's law, 0 is even."""

    seed: int = 1
    merchants: int = 100
    skew: float = 1.0
    duplicates: float = 0.01
    late: float = 0.02
    refunds: float = 0.03
    currencies: tuple[str, ...] = ("USD",)
    start_ms: int = 0
    """The first payment's time; part of the ids, so that two loads with one seed do not collide."""
    every_ms: float = 1.0
    """Time between two payments."""

    def merchant_bodies(self) -> dict[str, dict[str, Any]]:
        """Body of PUT /v1/merchants/{id} by id; the currency takes turns."""
        return {
            f"load-{number}": {
                "name": f"Load {number}",
                "currency": self.currencies[number % len(self.currencies)],
                "timeZone": "UTC",
                "businessType": "load",
            }
            for number in range(self.merchants)
        }

    def commands(self) -> Iterator[Line]:
        """Bulk lines without end. A refund follows its payment by some hundred commands, a duplicate repeats a line at once or later."""
        draw = random.Random(self.seed)  # noqa: S311 - a seeded load, not a secret
        weights = [1 / (number + 1) ** self.skew for number in range(self.merchants)]
        cumulative = [sum(weights[: index + 1]) for index in range(len(weights))]
        waiting: list[tuple[int, int, Line]] = []
        number = emitted = 0
        while True:
            while waiting and waiting[0][0] <= emitted:
                yield heapq.heappop(waiting)[2]
                emitted += 1
            payment = self._payment(number, draw, draw.choices(range(self.merchants), cum_weights=cumulative)[0])
            yield payment
            emitted += 1
            if payment["status"] == "succeeded" and draw.random() < self.refunds:
                heapq.heappush(waiting, (emitted + draw.randrange(1, 400), 2 * number, self._refund(payment, draw)))
            if draw.random() < self.duplicates:
                heapq.heappush(waiting, (emitted + draw.choice((0, 1, 50)), 2 * number + 1, payment))
            number += 1

    def _payment(self, number: int, draw: random.Random, merchant: int) -> Line:
        at = self.start_ms + int(number * self.every_ms)
        if draw.random() < self.late:
            at -= draw.randrange(1, 31 * _DAY_MS)
        amount = 1 + int(draw.lognormvariate(7.5, 1.0))
        data = hashlib.blake2b(f"{self.seed}:{self.start_ms}:{number}".encode(), digest_size=16, person=b"millrace-load").digest()
        return {
            "op": "payment",
            "id": base64.urlsafe_b64encode(data).rstrip(b"=").decode(),
            "merchantId": f"load-{merchant}",
            "userId": f"load-user-{draw.randrange(self.merchants * 50)}",
            "amount": amount,
            "currency": self._currency(draw, merchant),
            "method": draw.choice(METHODS),
            "points": {"used": 0, "earned": amount // 100},
            "status": "failed" if draw.random() < 0.01 else "succeeded",
            "paidAt": at,
            "device": {"type": draw.choice(DEVICES)},
        }

    def _currency(self, draw: random.Random, merchant: int) -> str:
        """Nine payments of ten in the merchant's own currency."""
        own = self.currencies[merchant % len(self.currencies)]
        return own if draw.random() < 0.9 else draw.choice(self.currencies)

    @staticmethod
    def _refund(payment: Line, draw: random.Random) -> Line:
        amount = draw.randrange(1, payment["amount"] + 1)
        return {"op": "refund", "paymentId": payment["id"], "id": "r1", "amount": amount, "refundedAt": payment["paidAt"] + 1}
