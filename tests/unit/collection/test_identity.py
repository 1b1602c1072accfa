"""API keys."""

from __future__ import annotations

import hashlib

import pytest

from millrace_collection.identity import Identity, make_key
from millrace_collection.problems import Problem
from millrace_contracts.identity import SCOPE_PAYMENTS_WRITE, SCOPE_USERS_WRITE
from tests.unit.collection.conftest import NOW
from tests.unit.collection.fake_store import FakeStore

pytestmark = pytest.mark.anyio


async def refusal(identity: Identity, header: str | None, scope: str = SCOPE_PAYMENTS_WRITE) -> Problem:
    with pytest.raises(Problem) as refused:
        await identity.require(header, scope)
    return refused.value


@pytest.fixture
def text(store: FakeStore) -> str:
    made, key = make_key("shop", [SCOPE_PAYMENTS_WRITE], NOW)
    store.keys[key.id] = key
    return made


async def test_a_key_opens_its_scopes_only(store: FakeStore, text: str) -> None:
    identity = Identity(store, 5)
    assert (await identity.require(f"Bearer {text}", SCOPE_PAYMENTS_WRITE)).name == "shop"
    assert (await identity.require(f"bearer {text}", SCOPE_PAYMENTS_WRITE)).name == "shop"
    problem = await refusal(identity, f"Bearer {text}", SCOPE_USERS_WRITE)
    assert (problem.status, "users:write" in problem.detail) == (403, True)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer mr-0000000000000000." + "A" * 43])
async def test_without_a_valid_key_the_answer_is_401(store: FakeStore, text: str, header: str | None) -> None:
    assert (await refusal(Identity(store, 5), header)).status == 401


async def test_a_right_id_with_another_secret_is_401(store: FakeStore, text: str) -> None:
    assert (await refusal(Identity(store, 5), f"Bearer {text[:-43]}{'A' * 43}")).status == 401


async def test_a_key_is_kept_as_the_hash_of_256_random_bits(store: FakeStore, text: str) -> None:
    (kept,) = store.keys.values()
    secret = text.split(".")[1]
    assert kept.hash == hashlib.sha256(secret.encode()).hexdigest()
    assert len(secret) * 6 >= 256
    assert secret not in repr(kept)


async def test_a_key_is_asked_for_once_in_a_while(store: FakeStore, text: str) -> None:
    identity = Identity(store, 5)
    for _ in range(3):
        await identity.require(f"Bearer {text}", SCOPE_PAYMENTS_WRITE)
    assert store.calls == ["api_key"]
    for _ in range(3):
        await refusal(identity, "Bearer mr-0000000000000000." + "A" * 43)
    assert store.calls == ["api_key"] * 2


async def test_a_revoked_key_is_401(store: FakeStore, text: str) -> None:
    (key_id,) = store.keys
    await store.revoke_api_key(key_id, NOW)
    assert (await refusal(Identity(store, 0), f"Bearer {text}")).status == 401
