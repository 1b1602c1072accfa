"""What MongoDB itself says: counts, sums and distinct customers by aggregation only, with no code of the pipeline.

What counts as a payment is said by the contracts, to MongoDB as to everybody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from millrace_contracts.payment_rules import expressions
from millrace_contracts.values.bson_json import CODEC
from millrace_runtime.waiting import reason_of
from millrace_stack.errors import StackError


@dataclass(frozen=True)
class Figures:
    """What is compared; amounts in minor units (I10)."""

    payments: int = 0
    gross: int = 0
    refunds: int = 0
    refunded: int = 0
    customers: int = 0


Total = tuple[str, str]
"""(merchant, currency)"""
Window = tuple[str, str, datetime]
"""(merchant, currency, start of the 10-minute window in UTC)"""

_WINDOW = {"unit": "minute", "binSize": 10}
_REFUND = {"id": "$$each.id", "amount": expressions.integer("$$each.amount"), "refundedAt": expressions.instant("$$each.refundedAt")}
_SUCCEEDED: tuple[dict[str, Any], ...] = (
    # Documents that a bypassed validator let through are no payments: they go to the dead letters (I4) and count nowhere.
    {"$project": expressions.PROJECT},
    {"$match": {"$expr": {"$eq": [expressions.refused(), None]}, "status": "succeeded"}},
    {"$set": {
        "amount": expressions.integer("$amount"),
        "paidAt": expressions.instant("$paidAt"),
        "refunds": {"$map": {"input": {"$ifNull": ["$refunds", []]}, "as": "each", "in": _REFUND}},
    }},
)  # fmt: skip


class MongoTruth:
    """Aggregations over the source database, as a user who may only read it."""

    def __init__(self, uri: str, database: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=10_000)
        options = CODEC.with_options(tz_aware=True, tzinfo=UTC)
        self._payments = self._client.get_database(database).get_collection("payments", codec_options=options)
        self._merchants = self._client.get_database(database).get_collection("merchants", codec_options=options)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def last_write(self) -> datetime:
        """Time of the last operation that a majority holds, to the second.

        Raises:
            StackError: MongoDB does not answer.
        """
        with _in_words():
            timestamp = self._client.admin.command("hello")["lastWrite"]["majorityOpTime"]["ts"]
        return datetime.fromtimestamp(timestamp.time, UTC)

    def merchants(self) -> list[str]:
        """Ids of all merchants and of everything that has payments."""
        of_payments = (row["_id"] for row in self._run([*_SUCCEEDED, {"$group": {"_id": "$merchantId"}}]))
        with _in_words():
            named = self._merchants.distinct("_id")
        return sorted({*(each for each in named if isinstance(each, str)), *of_payments})

    def totals(self, merchants: Collection[str] | None = None) -> dict[Total, Figures]:
        """Figures of the whole time by (merchant, currency)."""
        found = self._figures(merchants, {}, {})
        return {(key[0], key[1]): figures for key, figures in found.items()}

    def windows(self, merchants: Collection[str]) -> dict[Window, Figures]:
        """Figures of every 10-minute window of some merchants in which something happened."""
        paid = {"w": {"$dateTrunc": {"date": "$paidAt", **_WINDOW}}}
        refunded = {"w": {"$dateTrunc": {"date": "$refunds.refundedAt", **_WINDOW}}}
        found = self._figures(merchants, paid, refunded)
        return {(key[0], key[1], key[2]): figures for key, figures in found.items()}

    def span(self) -> tuple[datetime, datetime] | None:
        """First and last instant of a payment or refund; None without any."""
        ends: list[dict[str, Any]] = [
            {"$group": {"_id": None, "a": {"$min": "$paidAt"}, "b": {"$max": "$paidAt"}, "c": {"$max": {"$max": "$refunds.refundedAt"}}}}
        ]
        # A refund before its payment can be no earlier than the payment of another, but be exact about it.
        starts: list[dict[str, Any]] = [
            *_SUCCEEDED,
            {"$unwind": "$refunds"},
            {"$group": {"_id": None, "a": {"$min": "$refunds.refundedAt"}}},
        ]
        row = next(iter(self._run([*_SUCCEEDED, *ends])), None)
        if row is None:
            return None
        first = next(iter(self._run(starts)), {"a": None})["a"]
        return min(row["a"], first or row["a"]), max(row["b"], row["c"] or row["b"])

    def _figures(
        self, merchants: Collection[str] | None, paid: Mapping[str, Any], refunded: Mapping[str, Any]
    ) -> dict[tuple[Any, ...], Figures]:
        match = [{"$match": {} if merchants is None else {"merchantId": {"$in": list(merchants)}}}, *_SUCCEEDED]
        key = {"m": "$merchantId", "c": "$currency"}
        by_customer = {"_id": {**key, **paid, "k": "$user.key"}, "n": {"$sum": 1}, "a": {"$sum": "$amount"}}
        known = {"$sum": {"$cond": [{"$ifNull": ["$_id.k", False]}, 1, 0]}}
        names = {name: f"$_id.{name}" for name in ("m", "c", *paid)}
        together = {"_id": names, "n": {"$sum": "$n"}, "a": {"$sum": "$a"}, "customers": known}
        refunds = {"_id": {**key, **refunded}, "n": {"$sum": 1}, "a": {"$sum": "$refunds.amount"}}
        payments_rows = self._run([*match, {"$group": by_customer}, {"$group": together}])
        refund_rows = self._run([*match, {"$unwind": "$refunds"}, {"$group": refunds}])
        sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 5)
        for row in payments_rows:
            sums[tuple(row["_id"].values())][:2] = [row["n"], row["a"]]
            sums[tuple(row["_id"].values())][4] = row["customers"]
        for row in refund_rows:
            sums[tuple(row["_id"].values())][2:4] = [row["n"], row["a"]]
        return {key: Figures(*values) for key, values in sums.items()}

    def _run(self, pipeline: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        with _in_words():
            return list(self._payments.aggregate(pipeline, allowDiskUse=True))


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except OperationFailure as error:
        raise StackError(f"MongoDB refused to read ({reason_of(error)})") from None
    except PyMongoError as error:
        raise StackError(f"MongoDB does not answer ({reason_of(error)}); is the stack up?") from None
