"""Facts of several windows, made by a seeded generator, in the order that the engine sorts into."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa

from millrace_contracts.facts import DIMENSIONS
from millrace_processors import traits

TYPES = {
    "window_start": pa.timestamp("us", tz="UTC"),
    "long_window": pa.timestamp("us", tz="UTC"),
    traits.NAME: pa.binary(),
} | dict.fromkeys(("amount", "points_used", "points_earned", "version"), pa.int64())
COLUMNS = (
    "merchant_id", "window_start", "long_window", "currency", "fact_id", "amount", "points_used", "points_earned", "customer_key",
    traits.NAME, "version", "version_order",
)  # fmt: skip
START_MS = 1_764_028_800_000
"""2025-11-25T00:00Z."""
WINDOW_MS, HOUR_MS = 600_000, 3_600_000


def some(seed: int, count: int, *, windows: int, customers: int = 500) -> list[dict[str, Any]]:
    """Facts with several versions, some retracted, of two merchants and currencies."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        start = START_MS + chance.randrange(windows) * WINDOW_MS
        number = chance.randrange(count)
        kind = chance.choices(("payment", "refund", "failure"), (8, 2, 1))[0]
        dimensions = {name: chance.choice(("unknown", "a", "bb", "ccc")) if kind == "payment" else None for name in DIMENSIONS}
        customer = f"c{chance.randrange(customers)}" if kind == "payment" and chance.random() < 0.9 else None
        made.append(
            {
                "merchant_id": chance.choice(("m1", "m2")),
                "window_start": start * 1000,
                "currency": chance.choice(("EUR", "USD")),
                "fact_id": f"p{number}",
                "kind": kind,
                "amount": chance.choice((0, 1, 250, 99_999, chance.randrange(10**9))),
                "points_used": chance.randrange(5),
                "points_earned": chance.randrange(5),
                "customer_key": customer,
                **dimensions,
                "version": chance.randrange(1, 4),
                "version_order": chance.choice(("", "2B02", "2B04")),
                "retracted": chance.random() < 0.1,
            }
        )
    # One version of one fact is one image.
    names = ("fact_id", "merchant_id", "window_start", "currency", "version", "version_order")
    return list({tuple(f[name] for name in names): f for f in made}.values())


def arranged(facts: list[dict[str, Any]], length_ms: int) -> pa.RecordBatch:
    """Facts with the start of their longer window (which is as long as this, in UTC), sorted for it."""
    placed = [{**f, "long_window": f["window_start"] - f["window_start"] % (length_ms * 1000)} for f in facts]
    ordered = sorted(placed, key=lambda f: (f["version"], f["version_order"]), reverse=True)
    ordered = [{**f, traits.NAME: traits.packed(f)} for f in ordered]
    ordered.sort(key=lambda f: (f["merchant_id"], f["long_window"], f["currency"], f["window_start"], f["fact_id"]))
    return pa.record_batch({name: pa.array([f[name] for f in ordered], TYPES.get(name, pa.string())) for name in COLUMNS})
