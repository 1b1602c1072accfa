"""What MongoDB says of each window: how many facts its payments have and the sum of their amounts, added up by MongoDB itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bson import Timestamp
from pymongo.errors import OperationFailure
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from millrace_contracts.documents import PAYMENTS
from millrace_contracts.sketches import LARGEST
from millrace_contracts.windows import WINDOW
from millrace_processors import mongo_source
from millrace_processors.mongo_source import TOO_OLD, Db
from millrace_processors.reconciling import newest
from millrace_processors.scope import Scope
from millrace_processors.settings import Config

_AMOUNT: dict[str, Any] = {"$type": ["int", "long"], "$gte": 0, "$lte": LARGEST}
_COLUMNS = "window_ms bigint, mongo_facts bigint, mongo_amount bigint"
_BATCH = 10_000


class TooOld(Exception):
    """MongoDB no longer remembers the time up to which everything is complete."""


def by_window(config: Config, session: SparkSession, scope: Scope, seconds: int) -> DataFrame:
    """window_start, mongo_facts, mongo_amount as they were before a second of the cluster time; a row a window comes through here.

    Raises:
        CommandError: MongoDB's user is not named or refused.
        TooOld: MongoDB does not remember so far back.
        UnavailableError: MongoDB does not answer.
    """
    with mongo_source.opened(config) as database:
        try:
            rows = [(int(row["_id"]), int(row["n"]), int(row["a"])) for row in _aggregated(database, scope, seconds)]
        except OperationFailure as error:
            if error.code not in TOO_OLD:
                raise
            raise TooOld from None
    found = session.createDataFrame(rows, _COLUMNS)
    return found.select(F.timestamp_millis("window_ms").alias("window_start"), "mongo_facts", "mongo_amount")


def of_lake(facts: DataFrame, version: int) -> DataFrame:
    """The same of the lake: window_start, live_facts, live_amount of its newest facts from before a version."""
    live = newest(facts.where(F.col("version") < F.lit(version).cast("bigint"))).where("NOT state.retracted")
    amount = F.coalesce(F.sum("state.amount"), F.lit(0)).alias("live_amount")
    return live.groupBy("window_start").agg(F.count("*").alias("live_facts"), amount)


def pipeline(scope: Scope) -> list[dict[str, Any]]:
    """The stages: a payment or failure in its own window, each refund in its own; what is no payment has no facts (I4)."""
    refund = {"at": "$$refund.refundedAt", "amount": "$$refund.amount"}
    refunds = {"$map": {"input": "$refunds", "as": "refund", "in": refund}}
    facts = [[{"at": "$paidAt", "amount": "$amount"}], {"$cond": [{"$eq": ["$status", "succeeded"]}, refunds, []]}]
    within = {"$match": {"at": scope.instants()}} if scope.instants() else None
    length = {"unit": "minute", "binSize": int(WINDOW.total_seconds() // 60)}
    window = {"$toLong": {"$dateTrunc": {"date": "$at", **length}}}
    return [
        {"$match": {"$and": [_WELL_FORMED, scope.filter()]}},
        {"$project": {"_id": 0, "facts": {"$concatArrays": facts}}},
        {"$unwind": "$facts"},
        {"$replaceRoot": {"newRoot": "$facts"}},
        *([within] if within else []),
        {"$group": {"_id": window, "n": {"$sum": 1}, "a": {"$sum": "$amount"}}},
    ]


_REFUND = {"id": {"$type": "string"}, "amount": _AMOUNT, "refundedAt": {"$type": "date"}}
_WELL_FORMED: dict[str, Any] = {
    "merchantId": {"$type": "string"},
    "currency": {"$regex": "^...$"},
    "amount": _AMOUNT,
    "paidAt": {"$type": "date"},
    "status": {"$in": ["succeeded", "failed"]},
    "refunds": {"$type": "array", "$not": {"$elemMatch": {"$nor": [_REFUND]}}},
}
"""What the decoder takes for a payment that has facts."""


def _aggregated(database: Db, scope: Scope, seconds: int) -> Iterator[dict[str, Any]]:
    command = {
        "aggregate": PAYMENTS,
        "pipeline": pipeline(scope),
        "cursor": {"batchSize": _BATCH},
        "allowDiskUse": True,
        "readConcern": {"level": "snapshot", "atClusterTime": Timestamp(seconds, 0)},
    }
    with database.client.start_session(causal_consistency=False) as session:
        cursor = database.command(command, session=session)["cursor"]
        yield from cursor["firstBatch"]
        while cursor["id"]:
            more = {"getMore": cursor["id"], "collection": PAYMENTS, "batchSize": _BATCH}
            cursor = database.command(more, session=session)["cursor"]
            yield from cursor["nextBatch"]
