"""What clients send: names given twice, coded bodies, byte order marks, ids of dots, texts that act; as one body and as a bulk line."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_collection.cli import collection
from tests.support.examples import examples
from tests.unit.collection.fake_store import FakeStore

pytestmark = pytest.mark.anyio
PAYMENT = (
    '{"merchantId":"m1","userId":"u1","amount":100,"currency":"EUR","method":"card","points":{"used":1,"earned":2},'
    '"paidAt":"2026-03-01T09:00:00Z","device":{"type":"mobile","os":"ios"}}'
)
MERCHANT = '{"name":"Shop","currency":"EUR","timeZone":"Europe/Berlin","location":{"country":"DE","city":"Berlin"}}'
USER = '{"name":"Ada","email":"ada@example.org","phone":"1","grade":"gold","device":{"type":"pos","os":"x"}}'
JSON = {"Content-Type": "application/json"}
MARK = b"\xef\xbb\xbf"


async def post(client: httpx.AsyncClient, body: str | bytes, **headers: str) -> httpx.Response:
    return await client.post("/v1/payments", content=body, headers={**JSON, **headers})


async def line(client: httpx.AsyncClient, body: str) -> dict[str, Any]:
    """The answer to a payment as a bulk line, in the form of a single answer."""
    answer = await client.post("/v1/payments/bulk", content=body.replace("{", '{"op":"payment",', 1))
    found: dict[str, Any] = json.loads(answer.content)
    return {"status": found["status"], **found.get("error", {})}


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"amount":100', '"amount":100,"amount":999', "amount"),
        ('"amount":100', '"amount":100,"amount":100', "amount"),
        ('"currency":"EUR"', '"currency":"EUR","currency":"USD"', "currency"),
        ('"used":1', '"used":1,"used":2', "points.used"),
        ('"paidAt"', '"paidAt":"2026-03-01T08:00:00Z","paidAt"', "paidAt"),
        ('"amount":100', '"amount":100,"am\\u006funt":1', "amount"),
    ],
)
async def test_a_field_that_is_given_twice_is_refused_by_its_name(
    client: httpx.AsyncClient, store: FakeStore, old: str, new: str, field: str
) -> None:
    body = PAYMENT.replace(old, new)
    answer = await post(client, body)
    assert (answer.status_code, answer.json()["detail"]) == (400, f"{field} is given twice")
    assert answer.json()["errors"] == [{"field": field, "value": None, "message": "is given twice"}]
    assert await line(client, body) == {"status": 400, "detail": f"{field} is given twice", "errors": answer.json()["errors"]}
    assert store.collections["payments"] == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/merchants/m1", MERCHANT.replace('"timeZone"', '"timeZone":"UTC","timeZone"')),
        ("PUT", "/v1/users/u1", USER.replace('"name"', '"name":"Bob","name"')),
        ("POST", "/v1/payments/p/refunds", '{"amount":1,"amount":2,"refundedAt":"2026-03-01T09:00:00Z"}'),
        ("PATCH", "/v1/payments/p", '{"status":"failed","status":"succeeded"}'),
    ],
)
async def test_every_body_is_read_by_the_same_reader(client: httpx.AsyncClient, method: str, path: str, body: str) -> None:
    answer = await client.request(method, path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["detail"].endswith(" is given twice")


PATHS = [
    ("POST", "/v1/payments"),
    ("POST", "/v1/payments/bulk"),
    ("POST", "/v1/payments/p/refunds"),
    ("PATCH", "/v1/payments/p"),
    ("PUT", "/v1/merchants/m1"),
    ("PUT", "/v1/users/u1"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("coding", ["gzip", "br", "x-unknown"])
async def test_a_coded_body_is_415_with_the_coding_that_is_taken(client: httpx.AsyncClient, method: str, path: str, coding: str) -> None:
    body = gzip.compress(PAYMENT.encode()) if coding == "gzip" else PAYMENT.encode()
    answer = await client.request(method, path, content=body, headers={**JSON, "Content-Encoding": coding})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert coding in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), [*PATHS, ("GET", "/v1/payments/p"), ("GET", "/v1/merchants/m1"), ("GET", "/v1/users/u1")])
async def test_two_authorization_headers_are_400(client: httpx.AsyncClient, store: FakeStore, method: str, path: str) -> None:
    own = client.headers["authorization"]
    headers = [("Authorization", own), ("Authorization", own), ("Content-Type", "application/json")]
    answer = await client.request(method, path, content=PAYMENT, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Authorization is given twice")
    assert store.calls == []


async def test_a_byte_order_mark_is_skipped_before_a_body_and_before_a_line(client: httpx.AsyncClient, store: FakeStore) -> None:
    assert (await post(client, MARK + PAYMENT.encode())).status_code == 201
    put = await client.put("/v1/merchants/m2", content=MARK + MERCHANT.encode(), headers=JSON)
    assert put.status_code == 201
    row = PAYMENT.replace("{", '{"op":"payment",', 1).encode()
    joined = MARK + row + b"\n" + row + b"\n" + MARK + row + b"\n" + MARK + b"\r\n"
    answer = await client.post("/v1/payments/bulk", content=joined)
    assert [json.loads(each)["status"] for each in answer.content.splitlines()] == [201, 201, 201]
    assert len(store.collections["payments"]) == 4


async def test_the_same_body_with_and_without_a_mark_is_the_same_request(client: httpx.AsyncClient) -> None:
    first = await post(client, PAYMENT, **{"Idempotency-Key": "k"})
    second = await post(client, MARK + PAYMENT.encode(), **{"Idempotency-Key": "k"})
    assert first.json() == second.json()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
async def test_utf_16_is_refused_by_that_name(client: httpx.AsyncClient, encoding: str) -> None:
    answer = await post(client, PAYMENT.encode(encoding))
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is UTF-16; send UTF-8")
    rows = await client.post("/v1/payments/bulk", content=PAYMENT.encode(encoding))
    assert [json.loads(each)["error"]["detail"] for each in rows.content.splitlines()] == ["The line is UTF-16; send UTF-8"]


@pytest.mark.parametrize("identifier", [".", ".."])
async def test_ids_that_clients_take_away_are_refused(client: httpx.AsyncClient, store: FakeStore, identifier: str) -> None:
    for field in ("id", "merchantId", "userId"):
        changed = json.dumps({**json.loads(PAYMENT), field: identifier})
        answer = await post(client, changed)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
        assert (await line(client, changed))["status"] == 422
    refund = await client.post("/v1/payments/p/refunds", json={"id": identifier, "amount": 1, "refundedAt": "2026-03-01T09:00:00Z"})
    assert refund.status_code == 422
    escaped = identifier.replace(".", "%2E")
    for path, body in ((f"/v1/merchants/{escaped}", MERCHANT), (f"/v1/users/{escaped}", USER)):
        # As a client sends it that does not take the segment away.
        url = httpx.URL(scheme="http", host="test", raw_path=path.encode())
        answer = await client.put(url, content=body, headers=JSON)
        assert answer.status_code == 422, path
        assert answer.json()["detail"].startswith("id: ")
    assert set(store.calls) == {"api_key"}


async def test_a_user_id_with_a_slash_has_a_profile(client: httpx.AsyncClient) -> None:
    put = await client.put("/v1/users/google%2F1", content=USER, headers=JSON)
    assert put.status_code == 201
    assert [(await client.get(f"/v1/users/google%2F{number}")).status_code for number in (1, 2)] == [200, 404]
    assert (await client.put("/v1/users/google%2F2", content=USER, headers=JSON)).json()["key"] != put.json()["key"]


TEXTS = [
    ("PUT", "/v1/merchants/m1", MERCHANT, ["name", "grade", "businessType", "location.region", "location.city"]),
    ("PUT", "/v1/users/u1", USER, ["name", "email", "phone", "grade", "device.os"]),
    ("POST", "/v1/payments", PAYMENT, ["userId", "device.os"]),
]
FIELDS = [(method, path, body, field) for method, path, body, fields in TEXTS for field in fields]


def with_text(body: str, field: str, text: str) -> str:
    document = json.loads(body)
    *above, name = field.split(".")
    place = document
    for part in above:
        place = place[part]
    place[name] = text
    return json.dumps(document)


@pytest.mark.parametrize(("method", "path", "body", "field"), FIELDS)
async def test_control_characters_are_refused_in_every_text(
    client: httpx.AsyncClient, store: FakeStore, method: str, path: str, body: str, field: str
) -> None:
    before = [dict(documents) for documents in store.collections.values()]
    for character in ("\x1b]0;owned\x07", "\x00", "\x7f", "\x9b31m", "\u2028"):
        changed = with_text(body, field, f"a{character}b@x")
        answer = await client.request(method, path, content=changed, headers=JSON)
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert f"U+{ord(character[0]):04X}" in answer.json()["detail"]
        if path == "/v1/payments":
            assert (await line(client, changed))["errors"] == answer.json()["errors"]
    assert [dict(documents) for documents in store.collections.values()] == before


@given(text=st.text(st.sampled_from("a\x1b\x85\n") | st.characters(codec="utf-8"), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(10), deadline=None)
async def test_no_text_with_a_control_character_is_ever_stored(client: httpx.AsyncClient, store: FakeStore, text: str) -> None:
    for method, path, body, field in FIELDS:
        await client.request(method, path, content=with_text(body, field, text), headers=JSON)
    assert not any(unicodedata.category(character) == "Cc" for held in texts(store.collections) for character in held)


def texts(value: object) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


async def test_a_user_id_in_a_path_has_no_control_characters(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/users/a%1Bb", content=USER, headers=JSON)
    assert answer.status_code == 400
    assert "U+001B" in answer.json()["detail"]


def test_the_name_of_a_key_has_no_control_characters() -> None:
    refused = CliRunner().invoke(collection, ["keys", "create", "--name", "a\x1b]0;x", "--scope", "payments:write"], obj={})
    assert refused.exit_code == 2
    assert "U+001B at position 1" in refused.output
