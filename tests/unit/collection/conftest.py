"""Fixtures of the collection tier's unit tests: a fake store and the app on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from millrace_collection.app import application
from millrace_collection.identity import make_key
from millrace_collection.services import Services, build
from millrace_collection.settings import CollectionSettings
from millrace_contracts.identity import SCOPES
from tests.unit.collection.fake_store import FakeStore

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> FakeStore:
    fake = FakeStore()
    fake.collections["merchants"]["m1"] = {"_id": "m1", "name": "Shop"}
    return fake


@pytest.fixture
def settings() -> CollectionSettings:
    return CollectionSettings(
        customer_secret="00" * 16, request_log="off", key_cache_seconds=0, merchant_cache_seconds=0, user_cache_seconds=0
    )


@pytest.fixture
def services(settings: CollectionSettings, store: FakeStore, clock: Clock) -> Services:
    numbers = iter(range(1, 100_000))
    return build(settings, store, now=clock, keys=lambda: f"kgs-{next(numbers)}")


@pytest.fixture
async def client(services: Services, store: FakeStore) -> AsyncIterator[httpx.AsyncClient]:
    text, key = make_key("test", SCOPES, NOW)
    store.keys[key.id] = key
    transport = httpx.ASGITransport(application(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {text}"}) as made:
        yield made
