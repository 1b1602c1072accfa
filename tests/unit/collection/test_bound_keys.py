"""Keys that are bound to merchants, that expire, and that have a quota."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_collection.app import application
from millrace_collection.identity import Identity, make_key
from millrace_collection.problems import Problem
from millrace_collection.services import Services
from millrace_contracts.identity import SCOPE_PAYMENTS_READ, SCOPE_PAYMENTS_WRITE, SCOPES
from tests.support.examples import examples
from tests.unit.collection.conftest import NOW, Clock
from tests.unit.collection.fake_store import FakeStore

pytestmark = pytest.mark.anyio
PAYMENT = {"merchantId": "m1", "amount": 100, "currency": "EUR", "method": "card", "paidAt": "2026-03-01T09:00:00Z"}
MERCHANT = {"name": "x", "currency": "EUR", "timeZone": "UTC"}
REFUND = {"id": "r", "amount": 1, "refundedAt": "2026-03-01T09:10:00Z"}


def key_in(store: FakeStore, *scopes: str, **bounds: Any) -> dict[str, str]:
    text, key = make_key("shop", scopes or SCOPES, NOW, **bounds)
    store.keys[key.id] = key
    return {"Authorization": f"Bearer {text}"}


async def test_an_expired_key_is_401_and_says_since_when(store: FakeStore, clock: Clock) -> None:
    header = key_in(store, expires_at=NOW + timedelta(seconds=1))["Authorization"]
    identity = Identity(store, 5, clock)
    assert (await identity.require(header, SCOPE_PAYMENTS_WRITE)).name == "shop"
    clock.forward(seconds=1)
    with pytest.raises(Problem) as refused:
        await identity.require(header, SCOPE_PAYMENTS_WRITE)
    assert (refused.value.status, "expired at 2026-03-01T09:30:01+00:00" in refused.value.detail) == (401, True)


@pytest.mark.parametrize("scope", [SCOPE_PAYMENTS_WRITE, SCOPE_PAYMENTS_READ])
async def test_reading_is_a_scope_of_its_own(client: httpx.AsyncClient, store: FakeStore, scope: str) -> None:
    await client.post("/v1/payments", json={**PAYMENT, "id": "a"})
    found = await client.get("/v1/payments/a", headers=key_in(store, scope))
    assert found.status_code == (200 if scope == SCOPE_PAYMENTS_READ else 403)


async def test_a_quota_is_429_until_the_minute_ends(client: httpx.AsyncClient, store: FakeStore, clock: Clock) -> None:
    few = key_in(store, quota=2)
    clock.forward(seconds=48)
    answers = [await client.post("/v1/payments", json=PAYMENT, headers=few) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert answers[2].headers["retry-after"] == "12"
    clock.forward(seconds=12)
    lines = "\n".join(json.dumps({"op": "payment", **PAYMENT}) for _ in range(4))
    bulk = await client.post("/v1/payments/bulk", content=lines, headers=few)
    assert [json.loads(line)["status"] for line in bulk.text.splitlines()] == [201, 201, 429, 429]
    assert (await client.get("/v1/merchants/m1", headers=few)).status_code == 429


async def test_a_bound_key_opens_no_users(client: httpx.AsyncClient, store: FakeStore) -> None:
    bound = key_in(store, merchants=("m1",))
    answers = [await client.put("/v1/users/u", json={}, headers=bound), await client.get("/v1/users/u", headers=bound)]
    assert [answer.status_code for answer in answers] == [403, 403]


async def outcome(client: httpx.AsyncClient, kind: str, payment: str, merchant: str, headers: dict[str, str]) -> tuple[int, str]:
    """What a caller learns, without the names that it gave itself."""
    if kind == "create":
        answer = await client.post("/v1/payments", json={**PAYMENT, "id": payment, "merchantId": merchant}, headers=headers)
    elif kind == "refund":
        answer = await client.post(f"/v1/payments/{payment}/refunds", json=REFUND, headers=headers)
    elif kind == "status":
        answer = await client.patch(f"/v1/payments/{payment}", json={"status": "succeeded"}, headers=headers)
    elif kind == "read":
        answer = await client.get(f"/v1/payments/{payment}", headers=headers)
    elif kind == "merchant":
        answer = await client.put(f"/v1/merchants/{merchant}", json=MERCHANT, headers=headers)
    elif kind == "readMerchant":
        answer = await client.get(f"/v1/merchants/{merchant}", headers=headers)
    else:
        line = {
            "bulkCreate": {"op": "payment", **PAYMENT, "id": payment, "merchantId": merchant},
            "bulkRefund": {"op": "refund", "paymentId": payment, **REFUND},
            "bulkStatus": {"op": "status", "paymentId": payment, "status": "succeeded"},
        }[kind]
        answer = await client.post("/v1/payments/bulk", content=json.dumps(line), headers=headers)
        told = json.loads(answer.text)
        return told["status"], told.get("error", {}).get("detail", "").replace(f" {payment};", " ?;").replace(f" {merchant};", " ?;")
    detail = answer.json().get("detail", "")
    return answer.status_code, detail.replace(f" {payment};", " ?;").replace(f" {merchant};", " ?;")


KINDS = ("create", "refund", "status", "read", "merchant", "readMerchant", "bulkCreate", "bulkRefund", "bulkStatus")


@given(
    kind=st.sampled_from(KINDS),
    there=st.booleans(),
    status=st.sampled_from(["pending", "succeeded", "failed"]),
    repeated=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(20))
async def test_beyond_its_merchants_a_key_changes_nothing_and_learns_nothing(
    services: Services, kind: str, there: bool, status: str, repeated: bool
) -> None:
    """Whether another merchant and its payment exist, in which state, and whether it was tried before: the answer is the same 403."""
    store = services.store
    assert isinstance(store, FakeStore)
    for collection in store.collections.values():
        collection.clear()
    store.collections["merchants"]["m1"] = {"_id": "m1", "name": "Shop"}
    everything, bound = key_in(store), key_in(store, merchants=("m1",))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application(services)), base_url="http://test") as client:
        if there:
            store.collections["merchants"]["m2"] = {"_id": "m2", "name": "Other"}
            theirs = {**PAYMENT, "id": "p", "merchantId": "m2", "status": status}
            assert (await client.post("/v1/payments", json=theirs, headers=everything)).status_code == 201
        before = json.dumps(store.collections, default=str)
        headers = {**bound, **({"Idempotency-Key": "once"} if repeated else {})}
        told = [await outcome(client, kind, "p", "m2", headers) for _ in range(2)]
        assert json.dumps(store.collections, default=str) == before
    assert {code for code, _ in told} == {403}
    assert {detail for _, detail in told} == {
        f"The API key 'shop' may not touch {'payment' if 'efund' in kind or 'tatus' in kind or kind == 'read' else 'merchant'} ?; "
        "it is bound to m1"
    }
