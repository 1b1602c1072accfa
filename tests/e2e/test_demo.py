"""The demo as a person meets it, and what comes of payments; expected numbers are computed by hand.

One module, because its tests share one running pipeline: starting it costs a minute.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from millrace_contracts.topics import change_topic, dead_letter_topic
from millrace_stack.truth.mongo import Figures
from tests.e2e.conftest import BASKETS, Regulars
from tests.e2e.pipeline import DemoProcess, Running, floor, look_into, payment, processes_of, truth_json, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]


def test_a_posted_payment_shows_up_in_its_merchants_report(running: Running) -> None:
    merchant, now = running.merchant(), datetime.now(UTC)
    running.post(merchant, 1_999, now, userId="somebody")
    until("the payment is in the report", lambda: running.window(merchant, now).payments == 1, 600)
    assert running.window(merchant, now) == Figures(payments=1, gross=1_999, customers=1)


def test_the_curl_line_works_when_pasted(live_demo: DemoProcess, running: Running) -> None:
    running.settle()
    line = next(line for line in live_demo.output.splitlines() if line.startswith("curl "))
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert "errors" not in answer, answer
    series = answer["data"]["series"]
    assert series["totals"]["payments"] == sum(series["points"]["payments"]) > 0
    assert int(series["totals"]["gross"]) == sum(map(int, series["points"]["gross"]))


def test_merchants_arrive_through_debezium(running: Running) -> None:
    merchant = running.merchant("EUR")
    document = "query($m: ID!, $s: DateTime!, $e: DateTime!) { series(merchantId: $m, start: $s, end: $e, sparse: true) { currency } }"
    start = floor(datetime.now(UTC))
    times = {"s": start.isoformat(), "e": (start + timedelta(minutes=10)).isoformat()}
    # Without the merchant's own row the API would not know that its default currency is the euro.
    until(
        "the API knows the merchant's currency",
        lambda: _quietly(lambda: running.api.query(document, m=merchant, **times)["series"]["currency"]) == "EUR",
        600,
    )


def _quietly(ask: Any) -> Any:
    try:
        return ask()
    except Exception:  # not known yet: the API says so in an error of its own
        return None


def test_a_late_payment_of_last_month_reopens_its_window(running: Running) -> None:  # I8
    merchant, then = running.merchant(), floor(datetime.now(UTC) - timedelta(days=35)) + timedelta(minutes=3)
    running.post(merchant, 1_000, then, userId="a")
    running.settle()
    assert running.window(merchant, then) == Figures(payments=1, gross=1_000, customers=1)
    running.post(merchant, 250, then + timedelta(minutes=6), userId="b")
    running.post(merchant, 7, then + timedelta(minutes=7), userId="b")
    running.settle()
    # The third payment, ten minutes after the window's start, belongs to the next one.
    assert running.window(merchant, then) == Figures(payments=2, gross=1_250, customers=2)
    assert running.window(merchant, then + timedelta(minutes=7)) == Figures(payments=1, gross=7, customers=1)
    assert running.total(merchant) == Figures(payments=3, gross=1_257, customers=2)


def test_a_refund_of_an_old_payment_counts_when_it_is_made(running: Running) -> None:
    merchant, paid = running.merchant(), datetime.now(UTC) - timedelta(days=60)
    refunded = datetime.now(UTC) - timedelta(hours=2)
    identifier = running.post(merchant, 5_000, paid, userId="a")
    running.settle()
    running.refund(identifier, 1_200, refunded)
    running.refund(identifier, 300, refunded)
    running.settle()
    assert running.window(merchant, paid) == Figures(payments=1, gross=5_000, customers=1)
    assert running.window(merchant, refunded) == Figures(refunds=2, refunded=1_500)
    assert running.total(merchant) == Figures(5_000 // 5_000, 5_000, 2, 1_500, 1)


def test_sums_never_mix_currencies(running: Running) -> None:  # I10
    merchant, at = running.merchant(), datetime.now(UTC) - timedelta(days=3)
    running.post(merchant, 100, at)
    running.post(merchant, 5_000, at, currency="JPY")
    running.settle()
    assert running.window(merchant, at).gross == 100
    assert running.window(merchant, at, "JPY").gross == 5_000


def test_a_duplicate_delivery_changes_nothing(running: Running) -> None:  # I5
    merchant, at = running.merchant(), datetime.now(UTC) - timedelta(days=2)
    line = payment(merchant, 640, at, userId="a")
    assert [running.collection.single(line).answers[0].status for _ in range(2)] == [201, 200]
    running.settle()
    topic = change_topic(running.names, "payments")
    record = next(message for message in running.records(topic) if message.key() == line["id"].encode())
    producer = Producer({"bootstrap.servers": running.settings["MILLRACE_KAFKA_BOOTSTRAP"]})
    for _ in range(3):
        producer.produce(topic, key=record.key(), value=record.value(), headers=record.headers(), partition=record.partition())
    assert producer.flush(120) == 0
    # Another payment behind the copies, in the same window: once it is in, they are too.
    running.post(merchant, 1, at, userId="a")
    running.settle()
    assert running.window(merchant, at) == Figures(payments=2, gross=641, customers=1)


def test_an_unknown_merchant_or_currency_is_refused_by_name_and_counts_nowhere(running: Running) -> None:
    merchant, at = running.merchant(), datetime.now(UTC) - timedelta(days=1)
    lines = [payment("nobody-knows-me", 1, at), payment(merchant, 2, at, currency="XXX"), payment(merchant, 4, at)]
    answers = running.collection.bulk(lines).answers
    assert [answer.status for answer in answers] == [422, 422, 201]
    assert "merchantId" in answers[0].error
    assert "currency" in answers[1].error
    running.settle()
    assert running.total(merchant) == Figures(payments=1, gross=4)


def test_bad_documents_become_dead_letters_and_leave_the_rest_alone(running: Running) -> None:  # I4
    merchant, at = running.merchant(), datetime.now(UTC) - timedelta(days=4)
    good = running.post(merchant, 10, at)
    payments = running.mongo[running.names.database]["payments"]
    stored = payments.find_one({"_id": good})
    assert stored is not None
    bad: list[dict[str, Any]] = [
        {**stored, "_id": f"{good}-text", "amount": "ten"},
        {**stored, "_id": f"{good}-when", "paidAt": "yesterday"},
        {**stored, "_id": f"{good}-half", "amount": 10.5},
    ]
    raw = running.mongo[running.names.database].get_collection("payments")
    raw.insert_many(bad, bypass_document_validation=True)
    running.post(merchant, 20, at)
    running.settle()
    assert running.window(merchant, at) == Figures(payments=2, gross=30)
    letters = {message.key(): json.loads(message.value()) for message in running.records(dead_letter_topic(running.names))}
    for document, field in zip(bad, ("amount", "paidAt", "amount"), strict=True):
        assert field in letters[str(document["_id"]).encode()]["reason"]
    payments.delete_many({"_id": {"$in": [document["_id"] for document in bad]}})


def test_nothing_personal_leaves_mongodb(running: Running, demo_home: Path) -> None:  # I12
    merchant, now = running.merchant(), datetime.now(UTC)
    person = {
        "email": "zq-private-7731@example.org",
        "name": "Zq Personally Unmistakable",
        "phone": "+1-555-0177-7731",
        "dateOfBirth": "1971-03-29",
    }
    user = "zq-raw-user-id-7731"
    running.collection.put(f"/v1/users/{user}", person)
    running.post(merchant, 42, now, userId=user)
    running.settle()
    words = [text.encode() for text in (person["email"], person["name"], person["phone"], user, person["dateOfBirth"])]
    names = running.names
    for topic in (*(change_topic(names, each) for each in ("payments", "merchants", "users")), dead_letter_topic(names)):
        for message in running.records(topic):
            content = (message.key() or b"") + (message.value() or b"")
            assert not [word for word in words if word in content], topic
    whole: set[Path] = set()

    def look(path: Path, content: bytes) -> None:
        assert not [word for word in words if word in content], path
        if path.suffix == ".parquet" and _is_whole(content):
            whole.add(path)

    look_into([demo_home / "lake", *(demo_home / "data" / each for each in ("cassandra", "kafka")), demo_home / "checkpoints"], look)
    text = _rows_of(merchant, whole)
    assert merchant in text
    assert not [word for word in words if word.decode() in text]


def _is_whole(parquet: bytes) -> bool:
    """Whether a Parquet file is written to its end: the stream goes on, and what it has in hand has no footer yet."""
    return len(parquet) > 12 and parquet.endswith(b"PAR1")


def _rows_of(merchant: str, files: set[Path]) -> str:
    import duckdb

    assert files, "the lake holds no Parquet file"
    names = [str(path) for path in files]
    return str(duckdb.sql(f"SELECT * FROM read_parquet({names!r}, union_by_name = true) WHERE merchant_id = '{merchant}'").fetchall())


def test_the_truth_check_is_equal_while_payments_go_on(running: Running, demo_home: Path) -> None:
    code, answer = truth_json(demo_home, "--sample", "40", "--wait", "600")
    assert answer["differences"] == []
    assert (code, answer["equal"]) == (0, True)
    assert answer["payments"] >= BASKETS
    assert answer["windows"] > 100


def test_new_and_returning_customers_are_counted_by_the_demos_jobs(live_demo: DemoProcess, running: Running, regulars: Regulars) -> None:
    live_demo.await_output("new customers are counted", 1200)
    document = """query($m: ID!, $s: DateTime!, $e: DateTime!) { customersByDay(merchantId: $m, start: $s, end: $e) {
      points { newCustomers returningCustomers } totals { customers newCustomers } freshness { missing } } }"""
    days = {"s": (regulars.today - timedelta(days=3)).isoformat(), "e": regulars.today.isoformat()}
    assert running.api.query(document, m=regulars.merchant, **days)["customersByDay"] == {
        "points": {"newCustomers": [2, 1, 0], "returningCustomers": [0, 1, 1]},
        "totals": {"customers": 3, "newCustomers": 3},
        "freshness": {"missing": []},
    }


def test_ctrl_c_leaves_no_process_behind(live_demo: DemoProcess, running: Running, demo_home: Path) -> None:
    running.close()  # a client of MongoDB that is closed once there is none takes half a minute
    live_demo.interrupt()
    assert live_demo.wait(300) == 0, live_demo.output[-3000:]
    assert processes_of(demo_home) == []
