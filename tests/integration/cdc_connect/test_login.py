"""The REST API of Kafka Connect: nobody without the login, and no connector with client settings of its own choice."""

from __future__ import annotations

import httpx
import pytest

from millrace_cdc.connect import errors
from millrace_cdc.connect.client import ConnectClient
from tests.integration.cdc_connect.conftest import Settings, client_of, run

pytestmark = pytest.mark.stack

CLASS = "io.debezium.connector.mongodb.MongoDbConnector"
PLUGIN = f"/connector-plugins/{CLASS}/config/validate"
ATTEMPTS = [
    ("GET", "/"), ("GET", "/health"), ("GET", "/connectors"), ("POST", "/connectors"), ("GET", "/connector-plugins"), ("PUT", PLUGIN),
    ("PUT", "/connectors/x/config"), ("DELETE", "/connectors/x"), ("PATCH", "/connectors/x/offsets"), ("DELETE", "/connectors/x/offsets"),
    ("PUT", "/admin/loggers/root"), ("POST", "/connectors/x/restart"),
]  # fmt: skip


@pytest.mark.parametrize("login", [None, ("millrace", ""), ("millrace", "wrong"), ("nobody", "wrong"), ("", "")])
def test_nobody_without_the_login_is_answered(connect_server: Settings, login: tuple[str, str] | None) -> None:
    # A connection each, and no bodies: a server that refuses before it has read one closes the connection, with the next answer on it.
    once = httpx.Limits(max_keepalive_connections=0)
    url = connect_server["MILLRACE_CONNECT_URL"]
    with httpx.Client(base_url=url, auth=login, timeout=60, trust_env=False, limits=once) as stranger:
        answers = [stranger.request(method, path) for method, path in ATTEMPTS]
    assert [answer.status_code for answer in answers] == [401] * len(ATTEMPTS)
    assert not [answer.text for answer in answers if "kafka_cluster_id" in answer.text]


def test_a_wrong_login_is_named_in_one_line(connect_server: Settings) -> None:
    result = run({**connect_server, "MILLRACE_CONNECT_PASSWORD": "not-the-password"}, "status")
    assert result.return_value == 2
    assert "MILLRACE_CONNECT_USERNAME and MILLRACE_CONNECT_PASSWORD" in result.output
    assert "not-the-password" not in result.output
    with ConnectClient(connect_server["MILLRACE_CONNECT_URL"]) as client, pytest.raises(errors.LoginError):
        client.names()


@pytest.mark.parametrize(
    "override",
    [
        {"producer.override.bootstrap.servers": "127.0.0.1:1"},
        {"producer.override.sasl.jaas.config": "x"},
        {"producer.override.transactional.id": "x"},
        {"producer.override.interceptor.classes": "x.Y"},
        {"consumer.override.group.id": "x"},
        {"admin.override.bootstrap.servers": "127.0.0.1:1"},
    ],
)
def test_a_connector_with_another_override_is_refused(connect_server: Settings, override: dict[str, str]) -> None:
    config = {"connector.class": CLASS, "topic.prefix": "x", "mongodb.connection.string": "none", **override}
    (key,) = override
    with client_of(connect_server) as client:
        assert key in dict(client.validate("refused", config).problems())
        with pytest.raises(errors.ConnectError):
            client.create("refused", config)
        assert "refused" not in client.names()
