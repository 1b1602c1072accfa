"""The bulk endpoint on a fake store."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from millrace_collection.bulk import steps
from millrace_collection.settings import CollectionSettings
from millrace_collection.store import RefundChange, StatusChange
from tests.unit.collection.conftest import NOW, Clock
from tests.unit.collection.fake_store import FakeStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings() -> CollectionSettings:
    return CollectionSettings(customer_secret="00" * 16, request_log="off", bulk_batch=3, max_line_bytes=512)


def payment(identifier: str | None, **changed: Any) -> dict[str, Any]:
    line = {"op": "payment", "merchantId": "m1", "amount": 100, "currency": "EUR", "method": "card", "paidAt": "2026-03-01T09:00:00Z"}
    return {**line, **({} if identifier is None else {"id": identifier}), **changed}


def refund(payment_id: str, identifier: str, amount: int) -> dict[str, Any]:
    return {"op": "refund", "paymentId": payment_id, "id": identifier, "amount": amount, "refundedAt": "2026-03-01T09:10:00Z"}


async def post(client: httpx.AsyncClient, *given: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    body = b"".join((line if isinstance(line, bytes) else orjson.dumps(line)) + b"\n" for line in given)
    answer = await client.post("/v1/payments/bulk", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def test_every_line_is_answered_in_order_over_several_batches(client: httpx.AsyncClient) -> None:
    rows = await post(client, *(payment(f"p{number}") for number in range(10)))
    assert rows == [{"line": number + 1, "status": 201, "id": f"p{number}"} for number in range(10)]


async def test_refunds_and_statuses_follow_their_payment_within_a_batch_and_across(client: httpx.AsyncClient) -> None:
    rows = await post(
        client,
        payment("a", status="pending"),
        {"op": "status", "paymentId": "a", "status": "succeeded"},
        refund("a", "r1", 60),
        refund("a", "r2", 60),
        payment("b"),
        refund("b", "r1", 100),
    )
    assert [row["status"] for row in rows] == [201, 201, 201, 422, 201, 201]


async def test_a_line_that_is_wrong_answers_for_itself(client: httpx.AsyncClient, store: FakeStore) -> None:
    rows = await post(client, b"{", payment("a", amount="1"), b"", b"x" * 600, {"op": "steal"}, payment("b"), payment("c", amount=1.5))
    assert [(row["line"], row["status"]) for row in rows] == [(1, 400), (2, 422), (4, 413), (5, 422), (6, 201), (7, 422)]
    assert rows[1]["error"]["errors"] == [{"field": "amount", "value": "1", "message": "Input should be a valid integer"}]
    assert rows[3]["error"]["errors"][0] == {"field": "op", "value": "steal", "message": "write one of payment, refund, status"}
    assert set(store.collections["payments"]) == {"b"}


async def test_an_empty_body_has_no_answers(client: httpx.AsyncClient) -> None:
    assert await post(client) == []


async def test_lines_after_mongodb_went_away_answer_503_and_are_not_tried(client: httpx.AsyncClient, store: FakeStore) -> None:
    """I1: the batch whose answer was lost is not acknowledged either."""
    await post(client, payment("warm"))
    store.calls.clear()
    store.lose = "insert_payments"
    rows = await post(client, *(payment(f"p{number}") for number in range(9)))
    assert [row["status"] for row in rows] == [503] * 9
    assert rows[0]["error"]["retryAfter"] == 2
    assert store.calls.count("insert_payments") == 1
    again = await post(client, *(payment(f"p{number}") for number in range(9)))
    assert {row["status"] for row in again} <= {200, 201}
    assert len(store.collections["payments"]) == 10


async def test_payments_of_a_batch_stay_acknowledged_when_its_refunds_fail(
    client: httpx.AsyncClient, store: FakeStore, clock: Clock
) -> None:
    store.lose = "change_payments"
    rows = await post(client, payment("a"), refund("a", "r1", 10))
    assert [row["status"] for row in rows] == [201, 503]
    clock.forward(seconds=1)
    assert [row["status"] for row in await post(client, payment("a"), refund("a", "r1", 10))] == [200, 200]
    assert len(store.collections["payments"]["a"]["refunds"]) == 1


async def test_payments_without_an_id_get_one_of_the_key_generation_service(client: httpx.AsyncClient) -> None:
    assert [row["id"] for row in await post(client, payment(None), payment(None))] == ["kgs-1", "kgs-2"]


async def test_an_idempotency_key_gives_lines_without_an_id_the_same_one_again(client: httpx.AsyncClient, store: FakeStore) -> None:
    body = orjson.dumps(payment(None)) + b"\n" + orjson.dumps(payment(None)) + b"\n"
    for _ in range(2):
        await client.post("/v1/payments/bulk", content=body, headers={"Idempotency-Key": "f"})
    assert len(store.collections["payments"]) == 2


async def test_an_instant_in_the_future_is_refused(client: httpx.AsyncClient) -> None:
    rows = await post(client, payment("a", paidAt="2026-03-01T10:30:00Z"), payment("b", paidAt="2026-03-01T10:30:00.001Z"))
    assert [row["status"] for row in rows] == [201, 422]
    assert rows[1]["error"]["errors"][0]["field"] == "paidAt"


async def test_no_payment_stands_twice_in_a_wave() -> None:
    changes = [
        (1, RefundChange("a", "r1", 1, NOW, NOW)),
        (2, RefundChange("b", "r1", 1, NOW, NOW)),
        (3, StatusChange("a", "failed", NOW)),
        (4, RefundChange("a", "r2", 1, NOW, NOW)),
    ]
    assert [[number for number, _ in wave] for wave in steps(changes)] == [[1, 2], [3], [4]]
