"""What every adapter of the store port does; run against the fake here and against MongoDB among the integration tests."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace_collection.store import ApiKey, RefundChange, Reservation, StatusChange, Store

NOW = datetime(2026, 3, 1, 9, 30, 0, 123_000, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
KEY = "A" * 22


def payment(identifier: str, **changed: Any) -> dict[str, Any]:
    return {
        "_id": identifier,
        "merchantId": "m1",
        "amount": 1000,
        "currency": "EUR",
        "method": "card",
        "points": {"used": 0, "earned": 0},
        "status": "succeeded",
        "paidAt": NOW,
        "refunds": [],
        "createdAt": NOW,
        "updatedAt": NOW,
        "schemaVersion": 1,
        **changed,
    }


MERCHANT = {"_id": "m1", "name": "Shop", "currency": "EUR", "timeZone": "UTC", "status": "active", "schemaVersion": 1}
RESERVATION = Reservation("k1", "0" * 64, "r1", NOW, NOW + timedelta(seconds=30))


class StoreContract:
    """Subclasses give a fixture ``store``, empty at the start of each test."""

    @pytest.mark.anyio
    async def test_each_inserted_payment_answers_for_itself(self, store: Store) -> None:
        assert await store.insert_payments([payment("a")]) == ["inserted"]
        outcomes = await store.insert_payments([payment("b"), payment("a", amount=1), payment("c", amount=-1), payment("d"), payment("d")])
        assert outcomes == ["inserted", "exists", "invalid", "inserted", "exists"]
        assert set(await store.payments(["a", "b", "c", "d", "e"])) == {"a", "b", "d"}

    @pytest.mark.anyio
    async def test_a_payment_is_read_as_it_was_written(self, store: Store) -> None:
        written = payment("a", user={"id": "u", "key": KEY, "birthYear": 1990}, amount=10**12)
        await store.insert_payments([dict(written)])
        assert (await store.payments(["a"]))["a"] == written

    @pytest.mark.anyio
    async def test_refunds_stop_at_the_amount_paid(self, store: Store) -> None:
        await store.insert_payments([payment("a")])
        assert await store.change_payments([RefundChange("a", "r1", 600, NOW, LATER)]) == 1
        assert await store.change_payments([RefundChange("a", "r2", 401, NOW, LATER)]) == 0
        assert await store.change_payments([RefundChange("a", "r3", 400, NOW, LATER)]) == 1
        stored = (await store.payments(["a"]))["a"]
        assert [(refund["id"], refund["amount"], refund["refundedAt"]) for refund in stored["refunds"]] == [
            ("r1", 600, NOW),
            ("r3", 400, NOW),
        ]
        assert stored["updatedAt"] == LATER

    @pytest.mark.anyio
    async def test_of_refunds_at_once_no_more_than_the_payment_is_given_back(self, store: Store) -> None:
        await store.insert_payments([payment("a")])
        held = await asyncio.gather(*(store.change_payments([RefundChange("a", f"r{n}", 300, NOW, LATER)]) for n in range(8)))
        assert sum(held) == 3
        assert len((await store.payments(["a"]))["a"]["refunds"]) == 3

    @pytest.mark.anyio
    async def test_a_refund_id_counts_once(self, store: Store) -> None:
        await store.insert_payments([payment("a")])
        assert [await store.change_payments([RefundChange("a", "r1", 1, NOW, LATER)]) for _ in range(2)] == [1, 0]

    @pytest.mark.anyio
    @pytest.mark.parametrize("status", ["pending", "failed", "canceled"])
    async def test_only_a_succeeded_payment_is_refunded(self, store: Store, status: str) -> None:
        await store.insert_payments([payment("a", status=status)])
        assert await store.change_payments([RefundChange("a", "r1", 1, NOW, LATER)]) == 0

    @pytest.mark.anyio
    async def test_a_status_is_final_once_it_is_not_pending(self, store: Store) -> None:
        await store.insert_payments([payment("a", status="pending"), payment("b")])
        changes = [StatusChange("a", "failed", LATER), StatusChange("b", "failed", LATER), StatusChange("x", "failed", LATER)]
        assert await store.change_payments(changes) == 1
        assert await store.change_payments([StatusChange("a", "succeeded", LATER)]) == 0
        stored = await store.payments(["a", "b"])
        assert (stored["a"]["status"], stored["b"]["status"]) == ("failed", "succeeded")

    @pytest.mark.anyio
    async def test_a_profile_is_written_whole_and_keeps_its_first_instant(self, store: Store) -> None:
        optional = ["grade", "businessType"]
        assert await store.put("merchants", {**MERCHANT, "grade": "gold"}, optional, NOW) is True
        assert await store.put("merchants", {**MERCHANT, "businessType": "food"}, optional, LATER) is False
        assert await store.merchants(["m1", "m2"]) == {"m1": {**MERCHANT, "businessType": "food", "createdAt": NOW, "updatedAt": LATER}}

    @pytest.mark.anyio
    async def test_a_profile_written_twice_at_once_is_one(self, store: Store) -> None:
        created = await asyncio.gather(*(store.put("merchants", dict(MERCHANT), [], NOW) for _ in range(8)))
        assert created.count(True) == 1

    @pytest.mark.anyio
    async def test_users_are_found_by_their_key(self, store: Store) -> None:
        user = {"_id": KEY, "userId": "u1", "gender": "female", "schemaVersion": 1}
        await store.put("users", dict(user), [], NOW)
        assert await store.users([KEY, "B" * 22]) == {KEY: {**user, "createdAt": NOW, "updatedAt": NOW}}

    @pytest.mark.anyio
    async def test_an_api_key_is_kept_and_revoked_once(self, store: Store) -> None:
        key = ApiKey("k", "shop", "0" * 64, ("payments:write",), NOW)
        await store.add_api_key(key)
        assert await store.api_key("k") == key
        assert await store.api_key("x") is None
        assert [await store.revoke_api_key("k", LATER) for _ in range(2)] == [True, False]
        assert await store.api_keys() == [dataclasses.replace(key, revoked_at=LATER)]

    @pytest.mark.anyio
    async def test_what_binds_an_api_key_is_kept(self, store: Store) -> None:
        key = ApiKey("k", "shop", "0" * 64, ("payments:read",), NOW, merchants=("m1", "m2"), expires_at=LATER, quota=3)
        await store.add_api_key(key)
        assert await store.api_key("k") == key

    @pytest.mark.anyio
    async def test_a_quota_is_shared_by_all_who_ask_at_once_and_new_each_minute(self, store: Store) -> None:
        key = ApiKey("k", "shop", "0" * 64, ("payments:write",), NOW, quota=10)
        await store.add_api_key(key)
        granted = await asyncio.gather(*(store.take_quota(key, NOW, wanted) for wanted in (4, 4, 4, 4)))
        assert sorted(granted) == [0, 2, 4, 4]
        assert [await store.take_quota(key, NOW + timedelta(minutes=1), wanted) for wanted in (25, 1)] == [10, 0]

    @pytest.mark.anyio
    async def test_one_of_many_reserves_an_idempotency_key(self, store: Store) -> None:
        wanted = [dataclasses.replace(RESERVATION, reserved_id=f"r{n}") for n in range(8)]
        found = await asyncio.gather(*(store.reserve(reservation) for reservation in wanted))
        winners = [reservation for reservation, there in zip(wanted, found, strict=True) if there is None]
        assert len(winners) == 1
        assert {there.reserved_id for there in found if there is not None} == {winners[0].reserved_id}

    @pytest.mark.anyio
    async def test_the_same_reservation_again_is_no_obstacle(self, store: Store) -> None:
        assert [await store.reserve(RESERVATION) for _ in range(2)] == [None, None]

    @pytest.mark.anyio
    async def test_one_of_many_takes_an_abandoned_reservation_over(self, store: Store) -> None:
        await store.reserve(RESERVATION)
        taken = await asyncio.gather(*(store.take_over(RESERVATION, LATER + timedelta(seconds=n)) for n in range(8)))
        assert taken.count(True) == 1

    @pytest.mark.anyio
    async def test_a_finished_reservation_gives_its_answer_and_is_not_taken_over(self, store: Store) -> None:
        await store.reserve(RESERVATION)
        await store.finish("k1", 201, b'{"id":"r1"}')
        there = await store.reserve(dataclasses.replace(RESERVATION, reserved_id="r2"))
        assert there == dataclasses.replace(RESERVATION, status=201, body=b'{"id":"r1"}')
        assert await store.take_over(RESERVATION, LATER) is False

    @pytest.mark.anyio
    async def test_a_release_frees_its_own_reservation_only(self, store: Store) -> None:
        await store.reserve(RESERVATION)
        other = dataclasses.replace(RESERVATION, reserved_id="r2")
        await store.release(other)
        assert await store.reserve(other) is not None
        await store.release(RESERVATION)
        assert await store.reserve(other) is None

    @pytest.mark.anyio
    async def test_an_available_store_is_ready(self, store: Store) -> None:
        await store.ready()
