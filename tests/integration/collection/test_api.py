"""The REST contract over HTTP, with the real command and the real MongoDB."""

from __future__ import annotations

import gzip
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPConnection

import httpx
import pytest
from bson import Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient
from pymongo.database import Database

from millrace_contracts.documents import customer_key
from tests.integration.collection.processes import CollectionProcess, until

Settings = dict[str, str]
SECRET = bytes(16)
USER = {
    "email": "ada@example.org",
    "name": "Ada",
    "dateOfBirth": "1990-05-06",
    "gender": "female",
    "country": "DE",
    "grade": "gold",
    "device": {"type": "mobile", "os": "ios"},
}
PAYMENT = {
    "merchantId": "m1",
    "userId": "user 1@x",
    "amount": 1250,
    "currency": "EUR",
    "method": "card",
    "points": {"used": 0, "earned": 12},
    "paidAt": "2026-03-01T10:30:00.5+01:00",
}


@pytest.fixture
def database(declared: Settings) -> Iterator[Database]:
    with MongoClient(declared["MILLRACE_MONGO_ADMIN_URI"], tz_aware=True) as client:
        yield client[declared["MILLRACE_NAMES_DATABASE"]]


@pytest.fixture
def client(api: CollectionProcess, database: Database) -> Iterator[httpx.Client]:
    for collection in ("payments", "merchants", "users", "idempotencyKeys"):
        database[collection].delete_many({})
    with httpx.Client(base_url=api.url, headers=api.headers, timeout=60) as made:
        merchant = {"name": "Shop", "currency": "EUR", "timeZone": "Europe/Berlin", "location": {"country": "DE"}}
        assert made.put("/v1/merchants/m1", json=merchant).status_code == 201
        yield made


def test_a_payment_embeds_the_user_without_personal_data(client: httpx.Client, database: Database) -> None:
    """I12: neither e-mail, name nor day of birth is in the payment; the document is the one that the contracts show."""
    assert client.put("/v1/users/user%201@x", json=USER).status_code == 201
    answer = client.post("/v1/payments", json=PAYMENT)
    assert answer.status_code == 201
    identifier = answer.json()["id"]
    assert len(identifier) == 22
    stored = database.payments.find_one({"_id": identifier})
    created = stored.pop("createdAt")
    assert stored.pop("updatedAt") == created
    assert stored == {
        "_id": identifier,
        "merchantId": "m1",
        "user": {
            "id": "user 1@x",
            "key": customer_key(SECRET, "user 1@x"),
            "birthYear": 1990,
            "gender": "female",
            "country": "DE",
            "grade": "gold",
            "device": {"type": "mobile", "os": "ios"},
        },
        "amount": 1250,
        "currency": "EUR",
        "method": "card",
        "points": {"used": 0, "earned": 12},
        "status": "succeeded",
        "paidAt": datetime(2026, 3, 1, 9, 30, 0, 500_000, tzinfo=UTC),
        "refunds": [],
        "schemaVersion": 1,
    }
    shown = client.get(answer.headers["location"]).text
    assert json.loads(shown)["amount"] == 1250
    assert [word for word in ("user", "birthYear", "gold", customer_key(SECRET, "user 1@x")) if word in shown] == []


def test_a_user_is_kept_under_the_customer_key_with_everything(client: httpx.Client, database: Database) -> None:
    key = client.put("/v1/users/user%201@x", json=USER).json()["key"]
    stored = database.users.find_one({"_id": key})
    assert (stored["userId"], stored["email"], stored["name"]) == ("user 1@x", "ada@example.org", "Ada")
    assert stored["dateOfBirth"] == datetime(1990, 5, 6, tzinfo=UTC)
    shown = client.get("/v1/users/user%201@x").json()
    assert shown["grade"] == "gold"
    assert {"userId", "email", "name", "dateOfBirth", "key", "_id"} & set(shown) == set()


def test_documents_with_dates_and_types_that_json_lacks_are_answered_as_they_are(client: httpx.Client, database: Database) -> None:
    assert client.put("/v1/users/user%201@x", json=USER).status_code == 201
    far = DatetimeMS(253_402_300_800_000)
    database.users.update_many({}, {"$set": {"dateOfBirth": far}}, bypass_document_validation=True)
    identifier = client.post("/v1/payments", json={**PAYMENT, "id": "old"}).json()["id"]
    assert "birthYear" not in database.payments.find_one({"_id": identifier})["user"]
    changes = {"paidAt": far, "updatedAt": DatetimeMS(-(2**63)), "method": ObjectId("0" * 24), "points": Decimal128("1.5")}
    database.payments.update_one({"_id": identifier}, {"$set": changes}, bypass_document_validation=True)
    shown = client.get(f"/v1/payments/{identifier}").json()
    assert shown["paidAt"] == {"$date": {"$numberLong": "253402300800000"}}
    assert shown["updatedAt"] == {"$date": {"$numberLong": str(-(2**63))}}
    assert (shown["method"], shown["points"]) == ({"$oid": "0" * 24}, {"$numberDecimal": "1.5"})
    assert client.post("/v1/payments", json={**PAYMENT, "id": "old"}).status_code == 409
    refused = client.post(f"/v1/payments/{identifier}/refunds", json={"id": "r1", "amount": 1251, "refundedAt": "2026-03-02T08:00:00Z"})
    assert refused.json()["errors"][0]["message"] == "more than the 1250 that are left of the payment"


def test_refunds_and_status_over_http(client: httpx.Client, database: Database) -> None:
    identifier = client.post("/v1/payments", json={**PAYMENT, "status": "pending"}).json()["id"]
    refund = {"id": "r1", "amount": 1000, "refundedAt": "2026-03-02T08:00:00Z"}
    assert client.post(f"/v1/payments/{identifier}/refunds", json=refund).status_code == 409
    assert client.patch(f"/v1/payments/{identifier}", json={"status": "succeeded"}).status_code == 200
    assert [client.post(f"/v1/payments/{identifier}/refunds", json=refund).status_code for _ in range(2)] == [201, 200]
    too_much = client.post(f"/v1/payments/{identifier}/refunds", json={**refund, "id": "r2", "amount": 251})
    assert too_much.status_code == 422
    assert too_much.json()["errors"] == [{"field": "amount", "value": 251, "message": "more than the 250 that are left of the payment"}]
    assert client.patch(f"/v1/payments/{identifier}", json={"status": "canceled"}).status_code == 409
    assert [refund["amount"] for refund in database.payments.find_one({"_id": identifier})["refunds"]] == [1000]


def test_an_idempotency_key_sent_at_once_and_again_writes_one_payment(client: httpx.Client, database: Database) -> None:
    headers = {"Idempotency-Key": "order-17"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/payments", json=PAYMENT, headers=headers), range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 409)
    again = client.post("/v1/payments", json=PAYMENT, headers=headers)
    assert {answer.content for answer in answers if answer.status_code == 201} == {again.content}
    assert database.payments.count_documents({}) == 1
    assert client.post("/v1/payments", json={**PAYMENT, "amount": 1}, headers=headers).status_code == 409


def test_a_bulk_body_answers_line_by_line(client: httpx.Client, database: Database) -> None:
    payment = {"op": "payment", "id": "b1", **PAYMENT}
    lines = [
        payment,
        {"op": "refund", "paymentId": "b1", "id": "r1", "amount": 500, "refundedAt": 1_772_500_000_000},
        {"op": "refund", "paymentId": "b1", "id": "r2", "amount": 751, "refundedAt": 1_772_500_000_000},
        payment,
        {**payment, "id": "b2", "merchantId": "nobody"},
        {**payment, "id": "b3", "status": "pending"},
        {"op": "status", "paymentId": "b3", "status": "failed"},
        {"op": "refund", "paymentId": "b9", "id": "r1", "amount": 1, "refundedAt": 1_772_500_000_000},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines)
    answers = [[json.loads(line) for line in client.post("/v1/payments/bulk", content=body).text.splitlines()] for _ in range(2)]
    assert [row["status"] for row in answers[0]] == [201, 201, 422, 200, 422, 201, 201, 404]
    assert [row["status"] for row in answers[1]] == [200, 200, 422, 200, 422, 200, 200, 404]
    assert answers[0][4]["error"]["errors"][0]["field"] == "merchantId"
    assert database.payments.count_documents({}) == 2
    assert database.payments.find_one({"_id": "b3"})["status"] == "failed"


def test_a_bulk_body_with_instants_beyond_all_calendars_is_answered_line_by_line(client: httpx.Client, database: Database) -> None:
    """Several batches: every line is answered, and MongoDB holds exactly what was answered 201."""
    written = {"op": "payment", "merchantId": "m1", "amount": 1, "currency": "EUR", "method": "card"}
    instants = ["2026-03-01T09:00:00z"] * 1_500 + ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-05:00", "2016-12-31T23:59:60Z"]
    lines = [{**written, "id": f"reach-{number}", "paidAt": instant} for number, instant in enumerate(instants)]
    answer = client.post("/v1/payments/bulk", content="".join(json.dumps(line) + "\n" for line in lines))
    assert answer.status_code == 200
    assert [json.loads(line)["status"] for line in answer.text.splitlines()] == [201] * 1_500 + [422, 422, 201]
    assert database["payments"].count_documents({"_id": {"$regex": "^reach-"}}) == 1_501
    assert database["payments"].find_one({"_id": "reach-1502"})["paidAt"] == datetime(2017, 1, 1, tzinfo=UTC)


def raw(client: httpx.Client, method: str, target: str, body: bytes, *headers: tuple[str, str]) -> tuple[int, dict[str, str], bytes]:
    """What the server answers to these very bytes: no client folds the path, merges headers or packs the body."""
    connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (("Content-Length", str(len(body))), ("Content-Type", "application/json"), *headers):
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_what_other_clients_send_gets_one_right_answer(client: httpx.Client, database: Database) -> None:
    own = ("Authorization", client.headers["authorization"])
    text = json.dumps(PAYMENT).encode()
    line = json.dumps({"op": "payment", **PAYMENT}).encode()
    doubled = text.replace(b'"amount": 1250', b'"amount": 1250, "amount": 999')
    assert doubled != text
    status, _, body = raw(client, "POST", "/v1/payments", doubled, own)
    assert (status, json.loads(body)["detail"]) == (400, "amount is given twice")
    for path in ("/v1/payments", "/v1/payments/bulk"):
        status, headers, _ = raw(client, "POST", path, gzip.compress(line), own, ("Content-Encoding", "gzip"))
        assert (status, headers["accept-encoding"]) == (415, "identity")
        status, _, body = raw(client, "POST", path, text, own, own)
        assert (status, json.loads(body)["detail"][:30]) == (400, "Authorization is given twice; ")
    for target in ("/v1/merchants/%2E%2E", "/v1/merchants/..", "/v1/users/%2E"):
        status, _, body = raw(client, "PUT", target, b'{"name":"x","currency":"EUR","timeZone":"UTC"}', own)
        assert (status, json.loads(body)["detail"][:4]) == (422, "id: "), target
    escape = b'{"name":"\\u001b]0;owned\\u0007","currency":"EUR","timeZone":"UTC"}'
    assert raw(client, "PUT", "/v1/merchants/m1", escape, own)[0] == 400
    status, _, body = raw(client, "POST", "/v1/payments/bulk", b"\xef\xbb\xbf" + line + b"\n\xef\xbb\xbf" + line, own)
    assert [json.loads(row)["status"] for row in body.splitlines()] == [201, 201]
    assert database.payments.count_documents({}) == 2
    assert raw(client, "PUT", "/v1/users/google%2F1", b"{}", own)[0] == 201
    assert raw(client, "GET", "/v1/users/google%2F1", b"", own)[0] == 200


def test_an_interrupted_bulk_body_with_an_idempotency_key_can_be_sent_again(client: httpx.Client, database: Database) -> None:
    body = "".join(json.dumps({"op": "payment", **PAYMENT, "amount": amount}) + "\n" for amount in (1, 2, 3))
    headers = {"Idempotency-Key": "file-1"}
    first, second = (client.post("/v1/payments/bulk", content=body, headers=headers) for _ in range(2))
    ids = [[json.loads(line)["id"] for line in answer.text.splitlines()] for answer in (first, second)]
    assert ids[0] == ids[1]
    assert database.payments.count_documents({}) == 3


def test_a_key_of_one_merchant_touches_nothing_of_another(api: CollectionProcess, client: httpx.Client, database: Database) -> None:
    client.put("/v1/merchants/m2", json={"name": "Other", "currency": "EUR", "timeZone": "UTC"}).raise_for_status()
    theirs = client.post("/v1/payments", json={**PAYMENT, "id": "theirs", "merchantId": "m2", "status": "pending"})
    assert theirs.status_code == 201
    writes, reads = (
        api.make_key(*scopes, options=("--merchant", "m1")) for scopes in (("payments:write", "merchants:write"), ("payments:read",))
    )
    bound = {"Authorization": f"Bearer {writes}"}

    def asked(payment: str) -> list[tuple[int, str]]:
        refund = {"id": "r", "amount": 1, "refundedAt": "2026-03-02T08:00:00Z"}
        lines = [{"op": "refund", "paymentId": payment, **refund}, {"op": "status", "paymentId": payment, "status": "succeeded"}]
        answers = [
            client.post(f"/v1/payments/{payment}/refunds", json=refund, headers=bound),
            client.post(f"/v1/payments/{payment}/refunds", json=refund, headers={**bound, "Idempotency-Key": payment}),
            client.patch(f"/v1/payments/{payment}", json={"status": "succeeded"}, headers=bound),
            client.get(f"/v1/payments/{payment}", headers={"Authorization": f"Bearer {reads}"}),
        ]
        bulk = client.post("/v1/payments/bulk", content="\n".join(map(json.dumps, lines)), headers=bound).text.splitlines()
        told = [(each.status_code, each.json()["detail"]) for each in answers]
        told += [(line["status"], line["error"]["detail"]) for line in map(json.loads, bulk)]
        return [(status, detail.replace(payment, "?")) for status, detail in told]

    assert asked("theirs") == asked("nowhere")
    assert {status for status, _ in asked("theirs")} == {403}
    assert client.post("/v1/payments", json={**PAYMENT, "merchantId": "m2"}, headers=bound).status_code == 403
    assert client.post("/v1/payments", json={**PAYMENT, "merchantId": "nobody"}, headers=bound).status_code == 403
    taken = client.post("/v1/payments", json={**PAYMENT, "id": "theirs"}, headers=bound).json()
    assert (taken["status"], taken["detail"], "errors" in taken) == (409, "id: theirs is taken; choose another one", False)
    assert client.put("/v1/merchants/m2", json={"name": "Mine", "currency": "EUR", "timeZone": "UTC"}, headers=bound).status_code == 403
    assert client.get("/v1/payments/theirs", headers=bound).status_code == 403, "writing is not reading"
    assert client.post("/v1/payments", json={**PAYMENT, "userId": None}, headers=bound).status_code == 201
    stored = database.payments.find_one({"_id": "theirs"})
    assert (stored["status"], stored["refunds"], database.merchants.find_one({"_id": "m2"})["name"]) == ("pending", [], "Other")


def test_a_quota_holds_over_all_processes_and_is_told_in_a_bulk_body(api: CollectionProcess, client: httpx.Client) -> None:
    few = {"Authorization": f"Bearer {api.make_key('payments:write', options=('--quota', '3'))}"}
    body = "".join(json.dumps({"op": "payment", **PAYMENT, "amount": amount}) + "\n" for amount in range(1, 9))
    statuses = [json.loads(line)["status"] for line in client.post("/v1/payments/bulk", content=body, headers=few).text.splitlines()]
    refused = client.post("/v1/payments", json=PAYMENT, headers=few)
    # A minute may end between two requests: then three more are taken.
    assert statuses == [201] * 3 + [429] * 5
    assert refused.status_code in (429, 201)
    if refused.status_code == 429:
        assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_keys_are_scoped_revoked_and_hashed(api: CollectionProcess, client: httpx.Client, database: Database) -> None:
    key = api.make_key("users:write")
    headers = {"Authorization": f"Bearer {key}"}
    assert client.post("/v1/payments", json=PAYMENT, headers=headers).status_code == 403
    assert client.put("/v1/users/u2", json={}, headers=headers).status_code == 201
    stored = json.dumps(list(database.apiKeys.find()), default=str)
    assert key.split(".")[1] not in stored
    identifier = key.removeprefix("mr-").split(".")[0]
    assert identifier in api.command("keys", "list").stdout
    assert api.command("keys", "revoke", identifier).returncode == 0
    assert api.command("keys", "revoke", identifier).returncode == 1
    assert json.loads(api.command("keys", "list", "--json").stdout)[-1]["revokedAt"] is not None


def test_operators_see_health_readiness_and_metrics(client: httpx.Client, api: CollectionProcess) -> None:
    client.post("/v1/payments", json=PAYMENT, headers={"X-Request-Id": "trace-me"})
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"ready": True, "mongo": "majority"}
    assert 'millrace_collection_commands_total{kind="payment",status="201"} 1.0' in client.get("/metrics").text

    def traced() -> list[str]:
        lines = api.log_path.read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [entry["event"] for entry in entries if entry.get("request_id") == "trace-me"]

    # The last line may be written after the answer has come.
    until(lambda: traced() == ["accepted", "answered", "request"], "each step is logged once")
    assert "user 1@x" not in api.log_path.read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_command_cleanly(api: CollectionProcess, how: signal.Signals) -> None:
    assert api.stop(how) == 0
    assert "Traceback" not in api.log_path.read_text()


def test_a_port_in_use_is_one_line(api: CollectionProcess) -> None:
    result = api.command("run", "--port", api.url.rsplit(":", 1)[1])
    assert result.returncode == 2
    assert "Address already in use" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
