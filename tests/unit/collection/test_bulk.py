"""The bulk endpoint on a fake store."""

from __future__ import annotations

import errno
import io
import json
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_collection import spool as spool_module
from millrace_collection.app import application
from millrace_collection.bulk import MOST_FAILED, Bulk, steps
from millrace_collection.identity import make_key
from millrace_collection.request_log import RequestLog
from millrace_collection.services import Services
from millrace_collection.settings import CollectionSettings
from millrace_collection.store import RefundChange, StatusChange
from millrace_contracts.identity import SCOPES
from tests.support.instant_texts import ALMOST_INSTANTS, OUT_OF_REACH
from tests.unit.collection.conftest import NOW, Clock
from tests.unit.collection.fake_store import FakeStore

pytestmark = pytest.mark.anyio


@pytest.fixture(name="settings")
def bulk_settings() -> CollectionSettings:
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


async def test_instants_that_cannot_be_shifted_to_utc_are_answered_by_their_line(client: httpx.AsyncClient, store: FakeStore) -> None:
    """1,500 good lines, a bad one of each kind, and one more: each line is answered, and what was written is told."""
    good = [payment(f"p{number}") for number in range(1_500)]
    early, late = OUT_OF_REACH
    bad = [payment("x1", paidAt=early), payment("x2", paidAt=late), {**refund("p0", "r1", 1), "refundedAt": late}]
    rows = await post(client, *good, *bad, payment("last"))
    assert [row["status"] for row in rows] == [201] * 1_500 + [422] * 3 + [201]
    assert [row["error"]["errors"][0]["field"] for row in rows[1_500:-1]] == ["paidAt", "paidAt", "refundedAt"]
    assert rows[1_501]["error"]["errors"][0]["value"] == late
    assert len(store.collections["payments"]) == 1_501


async def test_a_line_on_which_our_own_code_fails_answers_500_and_the_rest_is_carried_out(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = Bulk._checked

    def failing(self: Bulk, line: bytes, *others: Any) -> Any:
        if b"p4" in line:
            raise RecursionError
        return checked(self, line, *others)

    monkeypatch.setattr(Bulk, "_checked", failing)
    rows = await post(client, *(payment(f"p{number}") for number in range(7)))
    assert [row["status"] for row in rows] == [201, 201, 201, 201, 500, 201, 201]
    assert "request id" in rows[4]["error"]["detail"]


@pytest.mark.parametrize("guilty", [["p0"], ["p4", "p5"], ["p2", "p3", "p8"]])
async def test_a_document_on_which_the_store_fails_answers_500_and_its_batch_is_written(
    client: httpx.AsyncClient, store: FakeStore, guilty: list[str]
) -> None:
    store.breaks_on = frozenset(guilty)
    rows = await post(client, *(payment(f"p{number}") for number in range(9)))
    assert [row["status"] for row in rows] == [500 if f"p{number}" in guilty else 201 for number in range(9)]
    assert set(store.collections["payments"]) == {f"p{number}" for number in range(9)} - set(guilty)


async def test_a_fault_of_every_command_ends_the_body_after_some_tries(client: httpx.AsyncClient, store: FakeStore) -> None:
    store.breaks_on = frozenset(f"p{number}" for number in range(300))
    rows = await post(client, *(payment(f"p{number}") for number in range(300)))
    assert {row["status"] for row in rows[: MOST_FAILED + 1]} == {500}
    assert {row["status"] for row in rows} == {500, 503}
    assert store.calls.count("insert_payments") < 4 * MOST_FAILED


async def test_answers_that_cannot_be_kept_are_a_problem_that_tells_how_far_the_body_came(
    client: httpx.AsyncClient, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, content: Any) -> int:
            if content.startswith(b'{"line":5'):
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    monkeypatch.setattr(spool_module, "SpooledTemporaryFile", lambda **_: Full())
    body = b"".join(orjson.dumps(payment(f"p{number}")) + b"\n" for number in range(9))
    answer = await client.post("/v1/payments/bulk", content=body)
    assert answer.status_code == 500
    assert "up to line 5 (5 answered 201)" in answer.json()["detail"]
    assert set(store.collections["payments"]) >= {f"p{number}" for number in range(5)}


async def test_a_request_log_that_cannot_be_written_acknowledges_nothing(services: Services, store: FakeStore) -> None:
    def full(_entry: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    text, key = make_key("test", SCOPES, NOW)
    store.keys[key.id] = key
    made = replace(services, request_log=RequestLog(full, services.directory.key_of))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(application(made))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {text}"}) as client:
        rows = await post(client, payment("a"), payment("b"))
    assert [row["status"] for row in rows] == [500, 500]
    assert not store.collections["payments"]


TEXTS = st.one_of(ALMOST_INSTANTS, st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.text(), max_size=2))


@pytest.mark.parametrize("field", ["paidAt", "refundedAt"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_values=st.lists(TEXTS, min_size=1, max_size=8))
async def test_any_value_for_an_instant_has_its_lines_answer(
    client: httpx.AsyncClient, store: FakeStore, field: str, given_values: list[Any]
) -> None:
    """Hostile values between good lines: every line is answered in order, no body is lost, and only good lines are written."""
    store.collections["payments"].clear()
    first = payment("first")
    bodies = [json.dumps(first)]
    for number, value in enumerate(given_values):
        line = payment(f"p{number}", paidAt=value) if field == "paidAt" else {**refund("first", f"r{number}", 1), "refundedAt": value}
        bodies.append(json.dumps(line))
    rows = await post(client, *(body.encode() for body in [*bodies, json.dumps(payment("last"))]))
    assert [row["line"] for row in rows] == list(range(1, len(given_values) + 3))
    assert (rows[0]["status"], rows[-1]["status"]) == (201, 201)
    for row in rows[1:-1]:
        assert row["status"] in (201, 413, 422) or (row["status"] == 400 and "not JSON" in row["error"]["detail"])
        assert row["status"] != 422 or row["error"]["errors"][0]["field"] == field


async def test_no_payment_stands_twice_in_a_wave() -> None:
    changes = [
        (1, RefundChange("a", "r1", 1, NOW, NOW)),
        (2, RefundChange("b", "r1", 1, NOW, NOW)),
        (3, StatusChange("a", "failed", NOW)),
        (4, RefundChange("a", "r2", 1, NOW, NOW)),
    ]
    assert [[number for number, _ in wave] for wave in steps(changes)] == [[1, 2], [3], [4]]
