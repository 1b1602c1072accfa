"""What MongoDB says of each window: how many facts its payments have and the sum of their amounts, added up by MongoDB itself.

And which payments are refused: by the rules that the decoder has too, as an expression of MongoDB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bson import Timestamp
from pymongo.errors import OperationFailure
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from millrace_contracts.documents import PAYMENTS
from millrace_contracts.payment_rules import expressions
from millrace_contracts.values import bson_json
from millrace_contracts.windows import WINDOW
from millrace_processors import mongo_source
from millrace_processors.mongo_source import TOO_OLD, Db
from millrace_processors.reconciling import newest
from millrace_processors.scope import Scope
from millrace_processors.settings import Config

_COLUMNS = "window_ms bigint, mongo_facts bigint, mongo_amount bigint"
_BATCH = 10_000
_LENIENT = bson_json.CODEC.with_options(unicode_decode_error_handler="replace")


class TooOld(Exception):
    """MongoDB no longer remembers the time up to which everything is complete."""


@dataclass(frozen=True)
class MongoCounts:
    """What MongoDB held. ``windows``: window_start, mongo_facts, mongo_amount; ``refused``: the payments without facts, by the field.

    ``refused_ids``: payment_id of those, of which the lake may have facts from before; None where there is none.
    """

    windows: DataFrame
    refused: dict[str, int]
    refused_ids: DataFrame | None

    def of_lake(self, facts: DataFrame, version: int) -> DataFrame:
        """The same of the lake: window_start, live_facts, live_amount of its newest facts from before a version.

        Facts of payments that are refused now are left out: they stay until their payment is mended, and MongoDB counts none of them.
        """
        counted = facts if self.refused_ids is None else facts.join(self.refused_ids, "payment_id", "left_anti")
        live = newest(counted.where(F.col("version") < F.lit(version).cast("bigint"))).where("NOT state.retracted")
        amount = F.coalesce(F.sum("state.amount"), F.lit(0)).alias("live_amount")
        return live.groupBy("window_start").agg(F.count("*").alias("live_facts"), amount)

    def persist(self) -> MongoCounts:
        """Keep the rows."""
        return replace(self, windows=self.windows.persist())


def look(config: Config, session: SparkSession, scope: Scope, seconds: int) -> MongoCounts:
    """The payments as they were before a second of the cluster time; a row a window, and one a refused payment, comes through here.

    Raises:
        CommandError: MongoDB's user is not named or refused.
        TooOld: MongoDB does not remember so far back.
        UnavailableError: MongoDB does not answer.
    """
    with mongo_source.opened(config) as database:
        try:
            rows = [(int(row["_id"]), int(row["n"]), int(row["a"])) for row in _aggregated(database, pipeline(scope), seconds)]
            bad = [(bson_json.key_text(row["_id"]), row["refused"]) for row in _aggregated(database, refusals(), seconds)]
        except OperationFailure as error:
            if error.code not in TOO_OLD:
                raise
            raise TooOld from None
    found = session.createDataFrame(rows, _COLUMNS).select(
        F.timestamp_millis("window_ms").alias("window_start"), "mongo_facts", "mongo_amount"
    )
    # Of an id that is no text the lake has nothing: its key may be the id of another payment.
    ids = [(key.decode(),) for key, field in bad if field != "_id"]
    return MongoCounts(found, dict(Counter(field for _, field in bad)), session.createDataFrame(ids, "payment_id string") if ids else None)


def pipeline(scope: Scope) -> list[dict[str, Any]]:
    """The stages: a payment or failure in its own window, each refund in its own; what the rules refuse has no facts (I4)."""
    refund = {"at": expressions.instant("$$refund.refundedAt"), "amount": expressions.integer("$$refund.amount")}
    refunds = {"$map": {"input": {"$ifNull": ["$refunds", []]}, "as": "refund", "in": refund}}
    paid = [{"at": expressions.instant("$paidAt"), "amount": expressions.integer("$amount")}]
    of_status = [{"case": {"$eq": ["$status", "succeeded"]}, "then": {"$concatArrays": [paid, refunds]}}]
    of_status += [{"case": {"$eq": ["$status", "failed"]}, "then": paid}]
    facts = {"$switch": {"branches": of_status, "default": []}}
    within = {"$match": {"at": scope.instants()}} if scope.instants() else None
    length = {"unit": "minute", "binSize": int(WINDOW.total_seconds() // 60)}
    window = {"$toLong": {"$dateTrunc": {"date": "$at", **length}}}
    return [
        {"$match": scope.filter()},
        {"$project": expressions.PROJECT},
        {"$match": {"$expr": {"$eq": [expressions.refused(), None]}}},
        {"$project": {"_id": 0, "facts": facts}},
        {"$unwind": "$facts"},
        {"$replaceRoot": {"newRoot": "$facts"}},
        *([within] if within else []),
        {"$group": {"_id": window, "n": {"$sum": 1}, "a": {"$sum": "$amount"}}},
    ]


def refusals() -> list[dict[str, Any]]:
    """The stages that give _id and the field, ``refused``, of each payment without facts; of all, since none tells its window."""
    return [
        {"$project": expressions.PROJECT},
        {"$project": {"refused": expressions.refused()}},
        {"$match": {"refused": {"$ne": None}}},
    ]


def _aggregated(database: Db, stages: list[dict[str, Any]], seconds: int) -> Iterator[dict[str, Any]]:
    command = {
        "aggregate": PAYMENTS,
        "pipeline": stages,
        "cursor": {"batchSize": _BATCH},
        "allowDiskUse": True,
        "readConcern": {"level": "snapshot", "atClusterTime": Timestamp(seconds, 0)},
    }
    with database.client.start_session(causal_consistency=False) as session:
        cursor = database.command(command, session=session, codec_options=_LENIENT)["cursor"]
        yield from cursor["firstBatch"]
        while cursor["id"]:
            more = {"getMore": cursor["id"], "collection": PAYMENTS, "batchSize": _BATCH}
            cursor = database.command(more, session=session, codec_options=bson_json.CODEC)["cursor"]
            yield from cursor["nextBatch"]
