"""Audit counts: what went into the topic, by 10-minute window of the payment's time, for the analysis tier to compare with its own.

One record a transaction, committed with it, so that the sum of all records is what a read_committed consumer can see::

    {"kind": "counts", "collection": "commerce.payments", "stream": 0, "recorded_ms": …,
     "windows": [[<window start in ms>, <currency>, <op>, <events>, <sum of after.amount>], …]}

An event without a readable paidAt, currency or integer amount counts with null in its place, and an amount of 0. Deletes count by
their before-image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
from bson.datetime_ms import DatetimeMS

from millrace_contracts.values.bson_json import as_ms
from millrace_contracts.windows import WINDOW_MS

Counts = dict[tuple[int | None, str | None, str], list[int]]
"""(window start in ms, currency, op) -> [events, sum of amounts]."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - BSON dates decode as naive UTC
_WINDOW = timedelta(milliseconds=WINDOW_MS)


def count(counts: Counts, op: str, image: Mapping[str, Any] | None) -> None:
    """Add one event to the counts."""
    paid_at, currency, amount = (image.get("paidAt"), image.get("currency"), image.get("amount")) if image else (None, None, None)
    window = (paid_at - _EPOCH) // _WINDOW * WINDOW_MS if type(paid_at) is datetime else None
    key = (window, currency if type(currency) is str else None, op)
    cell = counts.get(key)
    if cell is None:
        cell = counts[key] = [0, 0]
    cell[0] += 1
    if isinstance(amount, int):
        cell[1] += amount if amount is not True else 0
    elif isinstance(amount, datetime | DatetimeMS):
        cell[1] += as_ms(amount)  # as the event has it


def merge(into: Counts, other: Counts) -> None:
    """Add counts to others."""
    for key, (events, amount) in other.items():
        cell = into.setdefault(key, [0, 0])
        cell[0] += events
        cell[1] += amount


def encode(namespace: str, stream: int, counts: Counts, now_ms: int) -> bytes:
    """The record of one transaction."""
    windows = [[*key, *cell] for key, cell in counts.items()]
    return orjson.dumps({"kind": "counts", "collection": namespace, "stream": stream, "recorded_ms": now_ms, "windows": windows})


def total(records: Iterable[bytes]) -> Counts:
    """The sum of records of kind ``counts``."""
    found: Counts = {}
    for value in records:
        record = orjson.loads(value)
        if record["kind"] == "counts":
            merge(found, {(window, currency, op): [events, amount] for window, currency, op, events, amount in record["windows"]})
    return found
