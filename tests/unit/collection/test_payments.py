"""Payment commands: what is answered, and what is written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_collection.models import PaymentBody
from millrace_collection.payments import NewPayment, Payments, document, judge
from millrace_collection.services import Services
from millrace_collection.store import ApiKey, RefundChange, StatusChange, StoreUnavailable
from tests.unit.collection.conftest import NOW
from tests.unit.collection.fake_store import FakeStore

CALLER = ApiKey("k", "shop", "0" * 64, ("payments:write",), NOW)
LATER = NOW + timedelta(seconds=1)


def body(**changed: Any) -> PaymentBody:
    fields = {"merchantId": "m1", "amount": 1000, "currency": "EUR", "method": "card", "paidAt": "2026-03-01T09:00:00Z", **changed}
    return PaymentBody.model_validate({name: value for name, value in fields.items() if value is not None})


def new(identifier: str, at: datetime = NOW, **changed: Any) -> NewPayment:
    return NewPayment(identifier, body(**changed), at)


async def create(services: Services, *commands: NewPayment) -> list[int]:
    return [answer.status for answer in await services.payments.create(CALLER, commands)]


@pytest.mark.anyio
async def test_a_payment_repeated_with_equal_content_is_200(services: Services) -> None:
    assert await create(services, new("a")) == [201]
    assert await create(services, new("a", at=LATER)) == [200]


@pytest.mark.anyio
async def test_a_repetition_still_fits_after_a_refund_and_a_final_status(services: Services) -> None:
    assert await create(services, new("a", status="pending")) == [201]
    await services.payments.change(CALLER, [StatusChange("a", "succeeded", LATER)])
    await services.payments.change(CALLER, [RefundChange("a", "r", 1, NOW, LATER)])
    assert await create(services, new("a", at=LATER, status="pending")) == [200]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"amount": 1001}, "amount"),
        ({"currency": "USD"}, "currency"),
        ({"method": "cash"}, "method"),
        ({"points": {"used": 1}}, "points"),
        ({"paidAt": "2026-03-01T09:00:00.001Z"}, "paidAt"),
        ({"status": "failed"}, "status"),
        ({"userId": "u2"}, "userId"),
        ({"userId": None}, "userId"),
        ({"device": {"type": "pos"}}, "device"),
    ],
)
@pytest.mark.anyio
async def test_a_taken_id_with_other_content_names_the_field(services: Services, changed: dict[str, Any], field: str) -> None:
    assert await create(services, new("a", userId="u1")) == [201]
    (answer,) = await services.payments.create(CALLER, [new("a", at=LATER, **{"userId": "u1", **changed})])
    assert answer.status == 409
    assert answer.problem is not None
    assert [error.field for error in answer.problem.errors] == [field]


@pytest.mark.anyio
async def test_an_id_that_stands_twice_is_written_once(services: Services) -> None:
    assert await create(services, new("a"), new("a"), new("a", amount=1)) == [201, 200, 409]


@pytest.mark.anyio
async def test_a_write_whose_answer_was_lost_is_still_201_for_its_request(services: Services, store: FakeStore) -> None:
    store.lose = "insert_payments"
    with pytest.raises(StoreUnavailable):
        await create(services, new("a"))
    assert await create(services, new("a")) == [201]


@pytest.mark.anyio
async def test_only_payments_of_known_merchants_are_written(services: Services, store: FakeStore) -> None:
    assert await create(services, new("a", merchantId="m9"), new("b")) == [422, 201]
    assert set(store.collections["payments"]) == {"b"}


@pytest.mark.anyio
async def test_a_batch_asks_once_for_its_merchants_and_users(services: Services, store: FakeStore) -> None:
    await create(services, *(new(f"p{number}", userId=f"u{number % 7}") for number in range(100)))
    assert store.calls == ["merchants", "users", "insert_payments"]


@pytest.mark.anyio
async def test_a_user_without_a_profile_is_embedded_by_id_and_key_only(services: Services, store: FakeStore) -> None:
    await create(services, new("a", userId="u1"))
    assert set(store.collections["payments"]["a"]["user"]) == {"id", "key"}


@pytest.mark.anyio
async def test_an_unavailable_store_acknowledges_nothing(services: Services, store: FakeStore) -> None:
    store.down = True
    with pytest.raises(StoreUnavailable):
        await create(services, new("a"))
    assert store.collections["payments"] == {}


def test_the_device_of_the_payment_goes_before_that_of_the_user() -> None:
    user = {"device": {"type": "mobile", "os": "ios"}, "grade": "gold"}
    given_ = document(new("a", userId="u", device={"type": "pos"}), "K", user)
    assert given_["user"] == {"id": "u", "key": "K", "grade": "gold", "device": {"type": "pos"}}
    assert document(new("a", userId="u"), "K", user)["user"]["device"] == {"type": "mobile", "os": "ios"}
    assert document(new("a", device={"type": "pos"}), None, {})["user"] == {"device": {"type": "pos"}}
    assert "user" not in document(new("a"), None, {})


@pytest.mark.anyio
async def test_of_two_refunds_at_once_the_loser_learns_what_is_left(services: Services, store: FakeStore) -> None:
    """Both saw 1000 left; the guard in the write lets one through."""
    await create(services, new("a"))
    changes = [RefundChange("a", "r1", 700, NOW, LATER), RefundChange("a", "r2", 700, NOW, LATER)]
    payments = await store.payments(["a"])
    assert [judge(payments["a"], change) for change in changes] == [None, None]
    await store.change_payments([changes[0]])

    class Stale(FakeStore):
        """Reads the payment as it was before, once."""

        async def payments(self, ids: Any) -> Any:
            held = await store.payments(ids)
            if not self.calls:
                held["a"]["refunds"] = []
            self.calls.append("payments")
            return held

        async def change_payments(self, changes: Any) -> int:
            return await store.change_payments(changes)

    (answer,) = await Payments(Stale(), services.directory).change(CALLER, [changes[1]])
    assert answer.status == 422
    assert answer.problem is not None
    assert answer.problem.errors[0].message == "more than the 300 that are left of the payment"


PAYMENT = {"_id": "a", "status": "succeeded", "amount": 100, "refunds": [{"id": "r1", "amount": 40, "refundedAt": NOW}]}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (RefundChange("a", "r2", 60, NOW, LATER), None),
        (RefundChange("a", "r2", 61, NOW, LATER), 422),
        (RefundChange("a", "r1", 40, NOW, LATER), 200),
        (RefundChange("a", "r1", 41, NOW, LATER), 409),
        (RefundChange("a", "r1", 40, LATER, LATER), 409),
        (StatusChange("a", "succeeded", LATER), 200),
        (StatusChange("a", "failed", LATER), 409),
    ],
)
def test_a_change_is_judged_by_the_stored_payment(change: RefundChange | StatusChange, status: int | None) -> None:
    answer = judge(PAYMENT, change)
    assert (answer and answer.status) == status
    assert judge(None, change).status == 404  # type: ignore[union-attr]


@given(st.lists(st.integers(1, 60), max_size=12))
def test_refunds_in_any_order_never_exceed_the_payment(amounts: list[int]) -> None:
    async def run() -> tuple[list[int], int]:
        store = FakeStore()
        store.collections["payments"]["a"] = {**PAYMENT, "refunds": []}
        payments = Payments(store, None)  # type: ignore[arg-type]
        changes = [RefundChange("a", f"r{index}", amount, NOW, LATER) for index, amount in enumerate(amounts)]
        answers = [(await payments.change(CALLER, [change]))[0] for change in changes]
        accepted = [amount for amount, answer in zip(amounts, answers, strict=True) if answer.status == 201]
        return accepted, sum(refund["amount"] for refund in store.collections["payments"]["a"]["refunds"])

    accepted, refunded = asyncio.run(run())
    assert sum(accepted) == refunded <= 100


def test_instants_are_cut_to_the_milliseconds_that_mongodb_holds() -> None:
    assert body(paidAt="2026-03-01T10:00:00.123999+01:00").paidAt == datetime(2026, 3, 1, 9, 0, 0, 123_000, tzinfo=UTC)
