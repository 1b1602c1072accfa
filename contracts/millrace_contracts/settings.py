"""Typed settings with one prefix, MILLRACE_; they are given a mapping and never read the environment themselves.

A group is a frozen pydantic model whose fields are read from ``MILLRACE_<GROUP>_<FIELD>``::

    class KafkaSettings(Settings, group="KAFKA"):
        bootstrap: str = "127.0.0.1:9092"        # MILLRACE_KAFKA_BOOTSTRAP

    kafka = KafkaSettings.load(environ)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

PREFIX = "MILLRACE_"


class SettingsError(ValueError):
    """A setting is missing or bad. ``variable`` names it, ``problem`` says what is wrong and how to mend it."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable
        self.problem = problem


class Settings(BaseModel):
    """Base of every settings group; see the module's text."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    _group: ClassVar[str] = ""

    def __init_subclass__(cls, *, group: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._group = group

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Keep pydantic from looking at ``group``."""

    @classmethod
    def variable(cls, field: str) -> str:
        """Name of the environment variable behind a field."""
        return f"{PREFIX}{cls._group}_{field.upper()}"

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the group from a mapping such as ``os.environ``.

        Raises:
            SettingsError: names the variable, its value and the fix.
        """
        given = {name: environ[cls.variable(name)] for name in cls.model_fields if environ.get(cls.variable(name), "") != ""}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0]) if first["loc"] else "?"
            if first["type"] == "missing":
                raise SettingsError(cls.variable(field), "is not set; set it in the environment or start the stack first") from None
            raise SettingsError(cls.variable(field), f"{given.get(field)!r} does not fit: {first['msg']}") from None


class RuntimeSettings(Settings, group="RUNTIME"):
    """How a process behaves: where it runs and how it logs."""

    environment: Literal["local", "production"] = "local"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    host: str = "127.0.0.1"
    """Where a process's own HTTP endpoints listen (its API, /health, /ready, /metrics); 0.0.0.0 inside a container."""


class NamesSettings(Settings, group="NAMES"):
    """The names that several installations (or test runs) on the same servers keep apart."""

    database: str = "commerce"
    """MongoDB database."""
    topic_prefix: str = "millrace"
    """First part of every Kafka topic and transactional id."""
    keyspace: str = "millrace"
    """Cassandra keyspace."""
    redis_prefix: str = "millrace"
    """First part of every Redis key and channel."""
    lake_namespace: str = "millrace"
    """Iceberg namespace."""


class KafkaSettings(Settings, group="KAFKA"):
    """The message queue."""

    bootstrap: str = "127.0.0.1:9092"


class ConnectSettings(Settings, group="CONNECT"):
    """Kafka Connect's REST API."""

    url: str = "http://127.0.0.1:8083"


class CassandraSettings(Settings, group="CASSANDRA"):
    """The report store."""

    hosts: str = "127.0.0.1"
    """Comma-separated contact points."""
    port: int = 9042
    local_dc: str = "datacenter1"
    username: str = ""
    password: str = ""
    replication: str = "{'class': 'SimpleStrategy', 'replication_factor': 1}"

    def contact_points(self) -> list[str]:
        """The hosts as a list."""
        return [host.strip() for host in self.hosts.split(",")]


class RedisSettings(Settings, group="REDIS"):
    """The in-memory store."""

    url: str = "redis://127.0.0.1:6379/0"


def refuse_default_secret(environ: Mapping[str, str], variable: str, value: str, default: str) -> None:
    """Refuse a default secret outside local use.

    Raises:
        SettingsError: in production, when ``value`` is the published default.
    """
    if RuntimeSettings.load(environ).environment != "local" and value == default:
        raise SettingsError(variable, "still holds the default secret, which is for local use only; set one of your own")
