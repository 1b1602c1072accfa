"""Lookups through bounded caches."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_collection.directory import Cache, Directory, snapshot
from millrace_contracts.documents import customer_key
from tests.unit.collection.fake_store import FakeStore


class Monotonic:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Monotonic:
    return Monotonic()


@pytest.fixture
def directory(store: FakeStore, time: Monotonic) -> Directory:
    return Directory(store, b"s" * 16, merchant_seconds=60, user_seconds=5, entries=100, clock=time)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers()), max_size=40))
def test_a_cache_never_grows_above_its_bound_and_holds_the_newest(writes: list[tuple[str, int]]) -> None:
    cache: Cache[int] = Cache(60, 3)
    for key, value in writes:
        cache.put(key, value)
        assert cache.get(key) == value
        assert len(cache) <= 3


@pytest.mark.anyio
async def test_a_known_merchant_is_asked_for_once_a_minute(directory: Directory, store: FakeStore, time: Monotonic) -> None:
    for _ in range(3):
        assert await directory.known_merchants({"m1"}) == {"m1"}
    assert store.calls == ["merchants"]
    time.now += 60
    await directory.known_merchants({"m1"})
    assert store.calls == ["merchants"] * 2


@pytest.mark.anyio
async def test_an_unknown_merchant_counts_a_second_after_it_was_made_elsewhere(
    directory: Directory, store: FakeStore, time: Monotonic
) -> None:
    assert await directory.known_merchants({"m2"}) == set()
    store.collections["merchants"]["m2"] = {"_id": "m2"}
    assert await directory.known_merchants({"m2"}) == set()
    time.now += 1
    assert await directory.known_merchants({"m2"}) == {"m2"}


@pytest.mark.anyio
async def test_a_merchant_made_here_counts_at_once(directory: Directory, store: FakeStore) -> None:
    await directory.known_merchants({"m2"})
    store.collections["merchants"]["m2"] = {"_id": "m2"}
    directory.forget_merchant("m2")
    assert await directory.known_merchants({"m2"}) == {"m2"}


@pytest.mark.anyio
async def test_a_changed_profile_is_seen_after_the_time_to_live(directory: Directory, store: FakeStore, time: Monotonic) -> None:
    store.collections["users"]["K"] = {"_id": "K", "grade": "silver"}
    assert await directory.users(["K", "L"]) == {"K": {"grade": "silver"}, "L": {}}
    store.collections["users"]["K"] = {"_id": "K", "grade": "gold"}
    assert (await directory.users(["K"]))["K"] == {"grade": "silver"}
    time.now += 5
    assert (await directory.users(["K"]))["K"] == {"grade": "gold"}


def test_the_customer_key_is_that_of_the_contracts(directory: Directory) -> None:
    assert [directory.key_of("u1") for _ in range(2)] == [customer_key(b"s" * 16, "u1")] * 2


def test_a_snapshot_leaves_personal_data_behind() -> None:
    """I12: of the date of birth the year travels, of the rest nothing."""
    user = {
        "_id": "K",
        "userId": "u1",
        "email": "a@b.example",
        "name": "Ada",
        "phone": "1",
        "dateOfBirth": datetime(1990, 5, 6, tzinfo=UTC),
        "gender": "female",
        "country": "DE",
        "grade": "gold",
        "device": {"type": "pos"},
        "schemaVersion": 1,
    }
    assert snapshot(user) == {"birthYear": 1990, "gender": "female", "country": "DE", "grade": "gold", "device": {"type": "pos"}}
    assert snapshot({}) == {}
