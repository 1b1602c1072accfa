"""The contract of the client against a real worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from millrace_cdc.connect.client import ConnectClient
from tests.integration.cdc_connect.conftest import Settings, client_of
from tests.unit.cdc_connect.client_contract import ClientContract
from tests.unit.cdc_connect.fake_connect import CLASS

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def client(connect_server: Settings) -> Iterator[ConnectClient]:
    with client_of(connect_server) as client:
        yield client


@pytest.fixture
def config(environ: Settings) -> dict[str, str]:
    uri = "${env:MILLRACE_MONGO_DEBEZIUM_URI}"
    return {"connector.class": CLASS, "tasks.max": "1", "topic.prefix": "contract", "mongodb.connection.string": uri}


class TestRealWorker(ClientContract):
    """Everything of the contract."""
