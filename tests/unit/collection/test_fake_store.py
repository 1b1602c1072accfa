"""The fake keeps the contract of the store port."""

import pytest

from tests.unit.collection.fake_store import FakeStore
from tests.unit.collection.store_contract import StoreContract


class TestFakeStore(StoreContract):
    @pytest.fixture
    def store(self) -> FakeStore:
        return FakeStore()
