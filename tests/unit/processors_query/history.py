"""Facts of a few merchants as the lake holds them, superseded versions, duplicates and retractions among them, and what is true of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace_processors.facts import COLUMNS

T0 = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 10
Row = dict[str, Any]


def facts(seed: int, merchants: list[str], payments: int) -> list[Row]:
    """The rows in an order of chance; every payment belongs to one merchant, and some are changed, refunded or taken back."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for number in range(payments):
        first = _payment(chance, f"p{number}", chance.choice(merchants))
        rows.append(first)
        for version in range(1, chance.randrange(3)):
            rows.append({**first, "version": first["version"] + version, "amount": chance.randrange(10_000)})
        if chance.random() < 0.2:
            rows.append({**first, "version": first["version"] + 10, "retracted": True})
        if first["kind"] == "payment" and chance.random() < 0.3:
            at = first["occurred_at"] + timedelta(minutes=chance.randrange(600))
            unknown = dict.fromkeys(("customer_key", "method", "gender", "age_band", "grade", "country", "device"))
            refund = {"fact_id": f"p{number}/r", "kind": "refund", "amount": 5, "points_used": 0, "points_earned": 0}
            rows.append({**first, **unknown, **refund, "occurred_at": at, "window_start": _window(at)})
    rows += chance.sample(rows, len(rows) // 4)
    chance.shuffle(rows)
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _payment(chance: random.Random, payment: str, merchant: str) -> Row:
    at = T0 + timedelta(minutes=chance.randrange(DAYS * 24 * 60), seconds=chance.randrange(60))
    return {
        "fact_id": payment,
        "payment_id": payment,
        "kind": chance.choice(("payment", "payment", "payment", "failure")),
        "merchant_id": merchant,
        "window_start": _window(at),
        "currency": chance.choice(("USD", "EUR")),
        "occurred_at": at,
        "amount": chance.randrange(10_000),
        "points_used": chance.randrange(10),
        "points_earned": chance.randrange(10),
        "customer_key": f"k{chance.randrange(20)}",
        "method": chance.choice(("card", "cash", "wallet")),
        "gender": "female",
        "age_band": "25-34",
        "grade": "gold",
        "country": "KR",
        "device": "mobile",
        "version": chance.randrange(1_000) * 100,
        "version_order": "",
        "retracted": False,
    }


def _window(at: datetime) -> datetime:
    return at.replace(minute=at.minute // 10 * 10, second=0, microsecond=0)


def newest(rows: list[Row], merchants: set[str] | None = None) -> list[Row]:
    """What is true: of each fact its newest version, unless that is a retraction; of these merchants only."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row["fact_id"], row["merchant_id"], row["window_start"], row["currency"])
        if key not in found or (row["version"], row["version_order"]) > (found[key]["version"], found[key]["version_order"]):
            found[key] = row
    return [row for row in found.values() if not row["retracted"] and (merchants is None or row["merchant_id"] in merchants)]
