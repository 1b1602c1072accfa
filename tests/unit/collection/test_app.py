"""The HTTP contract on a fake store."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.unit.collection.fake_store import FakeStore

pytestmark = pytest.mark.anyio
PAYMENT = {"merchantId": "m1", "amount": 100, "currency": "EUR", "method": "card", "paidAt": "2026-03-01T09:00:00Z"}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["requestId"] == answer.headers["x-request-id"]
    return body


async def test_a_payment_is_created_under_a_generated_id(client: httpx.AsyncClient, store: FakeStore) -> None:
    answer = await client.post("/v1/payments", json=PAYMENT)
    assert (answer.status_code, answer.json(), answer.headers["location"]) == (201, {"id": "kgs-1"}, "/v1/payments/kgs-1")
    assert store.collections["payments"]["kgs-1"]["amount"] == 100


async def test_a_request_id_is_kept_or_made(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health", headers={"X-Request-Id": "abc-1"})).headers["x-request-id"] == "abc-1"
    made = [(await client.get("/health", headers={"X-Request-Id": given})).headers["x-request-id"] for given in ("", "a\tb", "x" * 129)]
    assert [len(identifier) for identifier in made] == [22, 22, 22]


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b"", 400), (b"[]", 422), (b'{"amount":1}', 422), (b" " * 65_537, 413), (b"\xff", 400)]
)
async def test_a_bad_body_is_a_problem(client: httpx.AsyncClient, content: bytes, status: int) -> None:
    problem(await client.post("/v1/payments", content=content, headers={"Content-Type": "application/json"}), status)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from([*PAYMENT, "id", "userId", "points", "status", "device", "x"]), value=JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(75))
async def test_whatever_stands_in_a_field_it_is_taken_or_named(client: httpx.AsyncClient, field: str, value: object) -> None:
    answer = await client.post("/v1/payments", json={**PAYMENT, field: value})
    if answer.status_code in (400, 422):
        assert all(error["field"].split(".")[0] == field for error in answer.json()["errors"])
    else:
        assert answer.status_code in (201, 200, 409)


async def test_a_number_beyond_64_bits_is_named_as_text(client: httpx.AsyncClient) -> None:
    body = problem(await client.post("/v1/payments", json={**PAYMENT, "amount": 10**30}), 422)
    assert body["errors"][0]["value"] == "1" + "0" * 30


async def test_another_media_type_is_415(client: httpx.AsyncClient) -> None:
    problem(await client.post("/v1/payments", content=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}), 415)


async def test_an_unknown_merchant_is_named(client: httpx.AsyncClient) -> None:
    body = problem(await client.post("/v1/payments", json={**PAYMENT, "merchantId": "m9"}), 422)
    assert [(error["field"], error["value"]) for error in body["errors"]] == [("merchantId", "m9")]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/v1/payments/a", 405), ("GET", "/v1/payments/a", 404)]
)
async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    problem(await client.request(method, path), status)


async def test_without_a_key_nothing_is_read_or_written(client: httpx.AsyncClient, store: FakeStore) -> None:
    for method, path in [
        ("POST", "/v1/payments"),
        ("POST", "/v1/payments/bulk"),
        ("POST", "/v1/payments/a/refunds"),
        ("PATCH", "/v1/payments/a"),
        ("GET", "/v1/payments/a"),
        ("PUT", "/v1/merchants/m1"),
        ("GET", "/v1/merchants/m1"),
        ("PUT", "/v1/users/u"),
        ("GET", "/v1/users/u"),
    ]:
        answer = await client.request(method, path, json={}, headers={"Authorization": ""})
        problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert store.calls == []


async def test_an_unavailable_store_is_503_with_retry_after(client: httpx.AsyncClient, store: FakeStore) -> None:
    store.down = True
    answer = await client.post("/v1/payments", json=PAYMENT)
    problem(answer, 503)
    assert answer.headers["retry-after"] == "2"
    assert (await client.get("/ready")).status_code == 503


async def test_an_error_of_ours_is_masked(client: httpx.AsyncClient, store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(store, "insert_payments", broken)
    body = problem(await client.post("/v1/payments", json=PAYMENT), 500)
    assert "secret detail" not in str(body)
    assert body["requestId"] in body["detail"]


async def test_a_repeated_key_gives_the_stored_answer(client: httpx.AsyncClient, store: FakeStore) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [await client.post("/v1/payments", json=PAYMENT, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert list(store.collections["payments"]) == [answers[0].json()["id"]]


async def test_a_merchant_is_new_once(client: httpx.AsyncClient) -> None:
    merchant = {"name": "Bar", "currency": "JPY", "timeZone": "Asia/Tokyo"}
    assert [(await client.put("/v1/merchants/m2", json=merchant)).status_code for _ in range(2)] == [201, 200]
    assert (await client.post("/v1/payments", json={**PAYMENT, "merchantId": "m2"})).status_code == 201


async def test_a_date_of_birth_in_the_future_is_refused_and_not_shown(client: httpx.AsyncClient) -> None:
    body = problem(await client.put("/v1/users/u1", json={"dateOfBirth": "2026-03-02"}), 422)
    assert body["errors"] == [{"field": "dateOfBirth", "message": "lies in the future"}]
    assert "2026-03-02" not in str(body)
