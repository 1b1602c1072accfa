"""Kafka Connect: one distributed worker with Debezium's connector on its plugin path."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import Probe, http_ok
from millrace_stack.servers.base import Context, Server, java_command, log4j2_config
from millrace_stack.servers.mongo import variable

_DEBEZIUM_URI = variable("debezium")
_LOGIN = "MILLRACE_CONNECT_PASSWORD"
_USER = "millrace"
_WORKER_FILE = Path("connect-config") / "worker.properties"

DEFAULTS = {
    "group.id": "millrace-connect",
    "key.converter": "org.apache.kafka.connect.json.JsonConverter",
    "key.converter.schemas.enable": "false",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
    "config.storage.topic": "millrace.connect.configs",
    "offset.storage.topic": "millrace.connect.offsets",
    "status.storage.topic": "millrace.connect.status",
    "exactly.once.source.support": "enabled",
    "connector.client.config.override.policy": "Allowlist",
    "connector.client.config.override.allowlist": "compression.type,linger.ms,batch.size,buffer.memory,max.request.size",
    "rest.extension.classes": "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension",
    "offset.flush.interval.ms": "1000",
    "config.providers": "env",
    "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
    "config.providers.env.param.allowlist.pattern": "MILLRACE_MONGO_DEBEZIUM_URI",
}
"""Used where there is no worker.properties."""


class Connect(Server):
    """The worker, with a login for its REST API: other users of this machine reach the port too."""

    name = "connect"
    ports = ("connect",)
    sets = ("connect", "debezium")
    needs = ("kafka",)

    def spec(self, context: Context) -> ProcessSpec:
        """The worker; connectors read MongoDB's URI from its environment, so that no password is stored in a topic."""
        data = context.home.data(self.name)
        properties = data / "worker.properties"
        worker = {**(_from_file(context) or DEFAULTS), **_overrides(context)}
        properties.write_text("".join(f"{key}={value}\n" for key, value in worker.items()))
        command = java_command(
            context,
            context.settings.connect_heap_mb,
            [f"{context.artefacts['connect']}/*"],
            "org.apache.kafka.connect.cli.ConnectDistributed",
            [log4j2_config(data), "-Djava.awt.headless=true", _jaas(data, context.secrets[_LOGIN])],
            [str(properties)],
        )
        return self.process(context, command, 20.0, environment={_DEBEZIUM_URI: context.secrets[_DEBEZIUM_URI]})

    def healthy(self, context: Context) -> Probe:
        """The worker's own /health: 200 once it has joined its group and read its configuration topic."""
        return http_ok(f"{_url(context)}/health", (_USER, context.secrets[_LOGIN]))

    def endpoints(self, context: Context) -> dict[str, str]:
        """The REST API and its user."""
        return {"MILLRACE_CONNECT_URL": _url(context), "MILLRACE_CONNECT_USERNAME": _USER}

    def new_secrets(self, ports: Mapping[str, int], known: Mapping[str, str]) -> dict[str, str]:
        """The password of that user."""
        return {_LOGIN: known.get(_LOGIN) or secrets.token_urlsafe(24)}


def _jaas(data: Path, password: str) -> str:
    """The users of the REST API, in files: a command line is readable for everybody. Answers the JVM flag."""
    users, jaas = data / "rest-users", data / "jaas.conf"
    users.touch(0o600)
    users.write_text(f"{_USER}={password}\n")
    module = "org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule"
    jaas.write_text(f'KafkaConnect {{ {module} required file="{users}"; }};\n')
    return f"-Djava.security.auth.login.config={jaas}"


def _url(context: Context) -> str:
    return f"http://127.0.0.1:{context.ports['connect']}"


def _overrides(context: Context) -> dict[str, str]:
    """What depends on this machine: addresses, the plugin folder, and one replica of everything."""
    return {
        "bootstrap.servers": f"127.0.0.1:{context.ports['kafka']}",
        "listeners": _url(context),
        "rest.advertised.host.name": "127.0.0.1",
        "rest.advertised.port": str(context.ports["connect"]),
        "plugin.path": str(context.artefacts["debezium"].parent),
        "plugin.discovery": "service_load",
        "config.storage.replication.factor": "1",
        "offset.storage.replication.factor": "1",
        "offset.storage.partitions": "1",
        "status.storage.replication.factor": "1",
        "status.storage.partitions": "1",
        "scheduled.rebalance.max.delay.ms": "0",
    }


def _from_file(context: Context) -> dict[str, str] | None:
    """The worker.properties of the setting, else of the checkout that this package is run from."""
    given = context.settings.connect_worker
    path = Path(given) if given else Path(__file__).resolve().parents[3] / _WORKER_FILE
    if not given and not path.is_file():
        return None
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith(("#", "!")))
    return {key.strip(): value.strip() for key, _, value in pairs}
