"""A history of payments as change events: updates, moves, refunds, deletes; and ways to disturb its delivery."""

from __future__ import annotations

import random
from typing import Any

from tests.integration.processors.events import MINUTE, T0, change, payment, refund

Event = tuple[str, str]


def events(seed: int, payments: int, merchants: int = 3) -> list[Event]:
    """Every payment is created, and most are changed some times."""
    chance = random.Random(seed)
    made: list[Event] = []
    at = 0
    for number in range(payments):
        image = _first(chance, number, merchants)
        at += 1
        made.append(change("c", image, at=at))
        for _ in range(chance.randrange(3)):
            before, image = image, _next(chance, image)
            at += 1
            made.append(change("u", image, before, at=at))
        if chance.random() < 0.1:
            at += 1
            made.append(change("d", None, image, at=at))
    return made


def _first(chance: random.Random, number: int, merchants: int) -> dict[str, Any]:
    user = {"key": f"k{chance.randrange(40)}", "birthYear": chance.choice((1950, 1990, 2005)), "gender": chance.choice(("female", "male"))}
    return payment(
        f"p{number}",
        merchantId=f"m{chance.randrange(merchants)}",
        currency=chance.choice(("USD", "USD", "EUR")),
        amount=chance.randrange(10_000),
        method=chance.choice(("card", "cash", "wallet")),
        paidAt=T0 + chance.randrange(0, 180) * MINUTE,
        status=chance.choice(("succeeded", "succeeded", "succeeded", "failed", "pending")),
        user=user,
    )


def _next(chance: random.Random, image: dict[str, Any]) -> dict[str, Any]:
    kind = chance.randrange(4)
    if kind == 0:
        return {**image, "status": "succeeded"}
    if kind == 1:
        return {**image, "paidAt": T0 + chance.randrange(0, 180) * MINUTE}
    if kind == 2:
        return {**image, "amount": chance.randrange(10_000)}
    return {**image, "refunds": [*image["refunds"], refund(f"r{len(image['refunds'])}", 7, T0 + chance.randrange(0, 300) * MINUTE)]}


def disturbed(seed: int, history: list[Event]) -> list[Event]:
    """Every event at least once, a third of them again, and in another order."""
    chance = random.Random(seed)
    found = [*history, *chance.sample(history, len(history) // 3)]
    chance.shuffle(found)
    return found
