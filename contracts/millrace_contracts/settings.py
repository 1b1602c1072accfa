"""Typed settings with one prefix, MILLRACE_; they are given a mapping and never read the environment themselves.

A group is a frozen pydantic model whose fields are read from ``MILLRACE_<GROUP>_<FIELD>``::

    class KafkaSettings(Settings, group="KAFKA"):
        bootstrap: str = "127.0.0.1:9092"        # MILLRACE_KAFKA_BOOTSTRAP

    kafka = KafkaSettings.load(environ)
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    """Where a process's own HTTP endpoints listen (its API, /health, /ready, /metrics). 0.0.0.0 inside a container, in production only."""
    body_seconds: float = Field(default=30.0, gt=0)
    """Total time for the body of one request to arrive, in every service; then the answer is 408. Bulk bodies have a time of their own."""
    away_seconds: float = Field(default=60.0, ge=0)
    """How long a command or a start waits for a server that is away, with words, before it ends with code 3. The relay and the stream
    have settings of their own."""
    scheduling: Literal["batch", "normal"] = "batch"
    """Linux's policy for the threads of the API and the relay: batch lets each finish its turn, for more work from the same cores;
    normal is for a machine whose cores other programs keep full."""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the group.

        Raises:
            SettingsError: names the variable and the fix; also where the local mode is to listen on another address than the loopback.
        """
        made = super().load(environ)
        if made.is_exposed(made.host):
            raise SettingsError(cls.variable("host"), f"{made.host!r} {KEEP_LOCAL}")
        return made

    def is_exposed(self, host: str) -> bool:
        """Whether other machines could reach a local process there: its secrets and its sign-in are published ones."""
        return self.environment == "local" and not _is_loopback(host)


KEEP_LOCAL = (
    "can be reached from other machines, which the local mode is not safe for; use 127.0.0.1, "
    "or set MILLRACE_RUNTIME_ENVIRONMENT=production and secrets of your own"
)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    """The message queue, and how a client makes itself known to it."""

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Whether the connection is encrypted (SSL) and whether clients log in (SASL)."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How clients log in."""
    username: str = ""
    """Who logs in; SASL needs it."""
    password: str = Field("", repr=False)
    """The password; SASL needs it."""
    ca_file: str = ""
    """PEM file of the certificate authority; the system's own where it is empty."""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the group; SASL needs a user and a password.

        Raises:
            SettingsError: names the variable and the fix.
        """
        made = super().load(environ)
        for field in ("username", "password"):
            if made.has_sasl and not getattr(made, field):
                raise SettingsError(cls.variable(field), f"is not set, which {made.security_protocol} needs; set it in the environment")
        return made

    @property
    def has_sasl(self) -> bool:
        """Whether clients log in."""
        return self.security_protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def client(self) -> dict[str, str]:
        """What every client of librdkafka is configured with."""
        options = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security_protocol}
        if self.has_sasl:
            options |= {"sasl.mechanism": self.sasl_mechanism, "sasl.username": self.username, "sasl.password": self.password}
        if self.has_tls and self.ca_file:
            options["ssl.ca.location"] = self.ca_file
        return options

    def java_client(self) -> dict[str, str]:
        """The same for a client of Kafka's own Java library (Spark's options have the prefix ``kafka.``)."""
        options = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security_protocol}
        if self.has_sasl:
            options |= {"sasl.mechanism": self.sasl_mechanism, "sasl.jaas.config": _jaas(self.sasl_mechanism, self.username, self.password)}
        if self.has_tls and self.ca_file:
            options |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": self.ca_file}
        return options


def _jaas(mechanism: str, username: str, password: str) -> str:
    name = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    user, secret = (f'"{_escaped(value)}"' for value in (username, password))
    return f"org.apache.kafka.common.security.{name} required username={user} password={secret};"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


class ConnectSettings(Settings, group="CONNECT"):
    """Kafka Connect: its REST API, and which optional connectors run."""

    url: str = "http://127.0.0.1:8083"
    """REST API of any worker of the cluster."""
    username: str = ""
    """User of the REST API; empty where the cluster asks for no login."""
    password: str = Field("", repr=False)
    enable: str = ""
    """Comma-separated connectors to run although their file says ``absent``, for example ``payments``."""

    def login(self) -> tuple[str, str] | None:
        """User and password, where there is a user."""
        return (self.username, self.password) if self.username else None

    def enabled(self) -> frozenset[str]:
        """``enable`` as names."""
        return frozenset(name.strip() for name in self.enable.split(",") if name.strip())


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


def refuse_plain_keys(environ: Mapping[str, str], variable: str, url: str) -> None:
    """Refuse token keys that are read over plain HTTP outside local use: whoever is on the way could sign tokens.

    Raises:
        SettingsError: in production, when ``url`` is an http:// address.
    """
    if RuntimeSettings.load(environ).environment != "local" and url.lower().startswith("http://"):
        raise SettingsError(variable, f"{url!r} is read without encryption; use https:// or the path of a file")
