"""What Kafka Connect's REST API answers, typed; fields that this package does not use are let through unread."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RUNNING = "RUNNING"
FAILED = "FAILED"
PAUSED = "PAUSED"
STOPPED = "STOPPED"
UNASSIGNED = "UNASSIGNED"
RESTARTING = "RESTARTING"


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Worker(Answer):
    """GET /"""

    version: str
    commit: str
    kafka_cluster_id: str


class Health(Answer):
    """GET /health"""

    status: str
    message: str = ""


class TaskId(Answer):
    """A task of a connector."""

    connector: str
    task: int


class ConnectorInfo(Answer):
    """GET /connectors/{name}: the configuration as it is stored, references unresolved."""

    name: str
    config: dict[str, str]
    tasks: list[TaskId] = []
    type: str | None = None


class ConnectorState(Answer):
    """The state of a connector itself."""

    state: str
    worker_id: str = ""
    trace: str | None = None


class TaskState(Answer):
    """The state of one task; ``trace`` is a Java stack trace when it failed."""

    id: int
    state: str
    worker_id: str = ""
    trace: str | None = None


class ConnectorStatus(Answer):
    """GET /connectors/{name}/status"""

    name: str
    connector: ConnectorState
    tasks: list[TaskState] = []
    type: str | None = None


class Connector(Answer):
    """An entry of GET /connectors?expand=info&expand=status; a half is missing while the cluster learns of a change."""

    info: ConnectorInfo | None = None
    status: ConnectorStatus | None = None


class TaskConfig(Answer):
    """An entry of GET /connectors/{name}/tasks."""

    id: TaskId
    config: dict[str, str]


class SourceOffset(Answer):
    """An offset of a source connector; ``offset`` None removes it in a change."""

    partition: dict[str, Any]
    offset: dict[str, Any] | None = None


class Offsets(Answer):
    """GET /connectors/{name}/offsets; empty until the connector's first event."""

    offsets: list[SourceOffset] = []


class Plugin(Answer):
    """An entry of GET /connector-plugins."""

    class_name: str = Field(alias="class")
    type: str
    version: str | None = None


class ConfigKey(Answer):
    """A key that a plugin's configuration knows."""

    name: str
    type: str = ""
    required: bool = False
    default_value: str | None = None
    importance: str = ""
    documentation: str = ""


class ConfigValue(Answer):
    """What validation says of one value."""

    name: str
    errors: list[str] = []


class ValidatedKey(Answer):
    """An entry of a validation; ``value`` is null for keys that Connect keeps to itself."""

    definition: ConfigKey
    value: ConfigValue | None = None


class Validation(Answer):
    """PUT /connector-plugins/{plugin}/config/validate. Values are not kept: Connect answers them with their references resolved."""

    name: str
    error_count: int
    configs: list[ValidatedKey] = []

    def problems(self) -> list[tuple[str, str]]:
        """(key, reason) of every refused value."""
        return [(entry.value.name, error) for entry in self.configs if entry.value for error in entry.value.errors]

    def known(self) -> set[str]:
        """Every key that the plugin and the framework know."""
        return {entry.definition.name for entry in self.configs}


class LoggerLevel(Answer):
    """An entry of GET /admin/loggers; ``last_modified`` is epoch milliseconds or None."""

    level: str | None = None
    last_modified: int | None = None
