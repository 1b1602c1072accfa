"""One definition of a payment that has facts: MongoDB's, the decoder's and an oracle's agree on every document (I4, I6)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from pymongo import MongoClient
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from millrace_contracts.payment_rules import expressions
from millrace_contracts.values import bson_json
from millrace_contracts.windows import from_ms
from millrace_processors import facts, mongo_counts, mongo_images
from millrace_processors.decoding import decode
from millrace_processors.scope import Scope
from millrace_stack.truth.mongo import MongoTruth
from tests.integration.processors.events import SECOND
from tests.support.examples import examples
from tests.support.hostile_payments import captured, counted, payments, refused

pytestmark = pytest.mark.stack
EXAMPLES = 12
_settings = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


@pytest.fixture
def collection(mongo_server: dict[str, str], names: dict[str, str]) -> Iterator[Any]:
    client: MongoClient[Any] = MongoClient(mongo_server["MILLRACE_MONGO_ADMIN_URI"])
    database = client[names["MILLRACE_NAMES_DATABASE"]]
    yield database.get_collection("payments", codec_options=bson_json.CODEC)
    client.drop_database(database)
    client.close()


def hold(collection: Any, documents: list[bytes]) -> None:
    collection.delete_many({})
    collection.insert_many(list(map(RawBSONDocument, documents)))


@_settings
@given(documents=payments(60))
def test_mongodb_refuses_and_counts_what_the_oracle_does(collection: Any, documents: list[bytes]) -> None:
    hold(collection, documents)
    known = {bson_json.key_text(bson_json.decode(raw)["_id"]): captured(raw) for raw in documents}
    found = {bson_json.key_text(row["_id"]): row["refused"] for row in collection.aggregate(mongo_counts.refusals())}
    assert found == {key: field for key, document in known.items() if (field := refused(document)) is not None}
    rows = list(collection.aggregate(mongo_counts.pipeline(Scope())))
    assert ({row["_id"]: row["n"] for row in rows}, {row["_id"]: row["a"] for row in rows}) == counted(list(known.values()))
    # Reprocessing asks for documents as they are; whatever is refused has to be among them.
    asked = {bson_json.key_text(row["_id"]) for row in collection.find({"$expr": {"$ne": [expressions.refused(), None]}}, {"_id": 1})}
    assert set(found) <= asked


@settings(parent=_settings, max_examples=examples(4))
@given(documents=payments(60))
def test_the_truth_counts_what_the_oracle_does(
    collection: Any, mongo_server: dict[str, str], names: dict[str, str], documents: list[bytes]
) -> None:
    hold(collection, documents)
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 4)
    instants: list[int] = []
    for each in map(captured, documents):
        if refused(each) is None and each["status"] == "succeeded":
            refunds = each.get("refunds") or []
            found = sums[each["merchantId"], each["currency"]]
            for place, value in enumerate((1, int(each["amount"]), len(refunds), sum(int(one["amount"]) for one in refunds))):
                found[place] += value
            instants += [int(each["paidAt"]), *(int(one["refundedAt"]) for one in refunds)]
    truth = MongoTruth(mongo_server["MILLRACE_MONGO_ADMIN_URI"], names["MILLRACE_NAMES_DATABASE"])
    try:
        told = {key: [each.payments, each.gross, each.refunds, each.refunded] for key, each in truth.totals().items()}
        assert (told, truth.merchants()) == (sums, sorted({merchant for merchant, _ in sums}))
        assert truth.span() == (from_ms(min(instants)), from_ms(max(instants)))
        assert sum(each.payments for each in truth.windows(truth.merchants()).values()) == sum(each[0] for each in sums.values())
    finally:
        truth.close()


@settings(parent=_settings, max_examples=examples(2))
@given(documents=payments(120))
def test_the_decoder_refuses_and_counts_what_the_oracle_does(spark: SparkSession, documents: list[bytes]) -> None:
    images = [captured(raw) for raw in documents]
    events = mongo_images.events([RawBSONDocument(bson.encode(image)) for image in images], "commerce", (SECOND, 1))
    rows = [(key, value, number) for number, (key, value) in enumerate(events)]
    frame = spark.createDataFrame(rows, "key binary, value binary, offset bigint")
    decoded = decode(frame.selectExpr("*", "'topic' AS topic", "0 AS partition"))
    reasons = [row["reason"] for row in decoded.orderBy("offset").select("reason").collect()]
    for image, reason in zip(images, reasons, strict=True):
        assert (None if reason is None else reason.split(" is ")[0]) == refused(image), (image, reason)
    windows = (
        facts.derive(decoded).groupBy(F.unix_millis("window_start").alias("at")).agg(F.count("*").alias("n"), F.sum("amount").alias("a"))
    )
    found = windows.collect()
    assert (Counter({row["at"]: row["n"] for row in found}), Counter({row["at"]: row["a"] for row in found})) == counted(images)
