"""What the client and a Connect cluster do together; run against the fake and against a real worker."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from millrace_cdc.connect.client import ConnectClient
from millrace_cdc.connect.errors import AlreadyExistsError, NotFoundError, RefusedError
from millrace_cdc.connect.models import PAUSED, STOPPED, SourceOffset
from tests.unit.cdc_connect.fake_connect import CLASS

TOKEN = "826B06E316000000022B0229296E04"


class ClientContract:
    """Subclasses give ``client`` and ``config``: a configuration of Debezium's MongoDB connector with topic.prefix ``contract``."""

    @pytest.fixture
    def name(self, client: ConnectClient, config: dict[str, str]) -> Iterator[str]:
        """A stopped connector with an odd name."""
        made = f"a b+{secrets.token_hex(4)}"
        client.create(made, config, initial_state=STOPPED)
        yield made
        if made in client.names():
            client.delete(made)

    def test_a_worker_tells_its_version_and_health(self, client: ConnectClient) -> None:
        assert client.worker().version.startswith("4.")
        assert client.worker().kafka_cluster_id
        assert client.health().status == "healthy"

    def test_a_created_connector_is_listed_with_its_configuration_and_state(
        self, client: ConnectClient, name: str, config: dict[str, str]
    ) -> None:
        assert name in client.names()
        assert client.connector(name).config == {**config, "name": name}
        assert client.config(name) == {**config, "name": name}
        await_state(client, name, STOPPED)
        found = client.connectors()[name]
        assert found.info
        assert found.info.config["topic.prefix"] == "contract"
        assert found.status
        assert (found.status.connector.state, found.status.tasks) == (STOPPED, [])

    def test_a_name_that_is_taken_is_an_error_of_its_own(self, client: ConnectClient, name: str, config: dict[str, str]) -> None:
        with pytest.raises(AlreadyExistsError, match="already exists"):
            client.create(name, config)

    def test_put_replaces_and_patch_changes_a_configuration(self, client: ConnectClient, name: str, config: dict[str, str]) -> None:
        client.put_config(name, {**config, "poll.interval.ms": "70"})
        assert client.config(name)["poll.interval.ms"] == "70"
        client.patch_config(name, {"poll.interval.ms": "80"})
        assert client.config(name) == {**config, "name": name, "poll.interval.ms": "80"}
        client.patch_config(name, {"poll.interval.ms": None})
        assert "poll.interval.ms" not in client.config(name)

    def test_what_is_not_there_is_not_found(self, client: ConnectClient) -> None:
        for ask in (client.connector, client.config, client.status, client.offsets, client.delete, client.tasks):
            with pytest.raises(NotFoundError):
                ask("nobody")
        with pytest.raises(NotFoundError):
            client.task_status("nobody", 0)
        with pytest.raises(NotFoundError):
            client.plugin_config("no.such.Plugin")
        with pytest.raises(NotFoundError):
            client.logger("no.such.logger")

    def test_a_deleted_connector_is_gone(self, client: ConnectClient, name: str) -> None:
        client.delete(name)
        assert name not in client.names()

    def test_offsets_of_a_stopped_connector_are_set_read_back_and_reset(self, client: ConnectClient, name: str) -> None:
        await_state(client, name, STOPPED)
        assert client.offsets(name) == []
        wanted = SourceOffset(partition={"server_id": "contract"}, offset={"resume_token": TOKEN})
        assert "successfully" in client.set_offsets(name, [wanted])
        assert client.offsets(name) == [wanted]
        assert "successfully" in client.reset_offsets(name)
        assert client.offsets(name) == []

    def test_offsets_of_a_paused_connector_are_refused(self, client: ConnectClient, config: dict[str, str]) -> None:
        made = f"p{secrets.token_hex(4)}"
        client.create(made, config, initial_state=PAUSED)
        try:
            await_state(client, made, PAUSED)
            with pytest.raises(RefusedError, match="STOPPED"):
                client.reset_offsets(made)
        finally:
            client.delete(made)

    def test_topics_of_a_connector_that_wrote_nothing_are_none(self, client: ConnectClient, name: str) -> None:
        assert client.topics(name) == []
        client.reset_topics(name)

    def test_plugins_are_listed_with_their_keys(self, client: ConnectClient) -> None:
        assert CLASS in [plugin.class_name for plugin in client.plugins()]
        assert "topic.prefix" in [key.name for key in client.plugin_config(CLASS)]

    def test_validation_names_a_wrong_value_and_survives_entries_without_one(self, client: ConnectClient, config: dict[str, str]) -> None:
        assert client.validate("v", config).problems() == []
        refused = client.validate("v", {**config, "poll.interval.ms": "soon"})
        assert {key for key, _ in refused.problems()} == {"poll.interval.ms"}
        assert refused.error_count >= 1
        assert "poll.interval.ms" in refused.known()

    def test_a_logger_is_set_and_read_back(self, client: ConnectClient) -> None:
        assert client.set_logger("org.apache.kafka.connect.contract", "DEBUG") == ["org.apache.kafka.connect.contract"]
        assert client.logger("org.apache.kafka.connect.contract").level == "DEBUG"
        assert client.set_logger("org.apache.kafka.connect.contract", "INFO", cluster=True) == []
        assert "root" in client.loggers()


def await_state(client: ConnectClient, name: str, state: str) -> None:
    """Until the cluster tells the state: a created connector is not known to the status topic at once."""
    deadline = time.monotonic() + 90
    while True:
        try:
            if client.status(name).connector.state == state:
                return
        except NotFoundError:
            pass
        assert time.monotonic() < deadline, f"{name} is not {state}"
        time.sleep(0.05)
