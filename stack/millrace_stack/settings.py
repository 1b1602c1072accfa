"""Settings of the local servers, read from MILLRACE_STACK_*."""

from __future__ import annotations

from pathlib import Path

from millrace_contracts.settings import Settings, SettingsError


class StackSettings(Settings, group="STACK"):
    """Sizes keep all servers and a Spark driver of 3 GiB within 8 GiB."""

    cache: str = "~/.cache/millrace"
    """Folder of the resolved artefacts, shared by every home."""
    ports: str = ""
    """Ports to use instead of free ones: ``mongo=27017,kafka=9092``."""
    mongo_cache_mb: int = 512
    mongo_oplog_mb: int = 2048
    kafka_heap_mb: int = 768
    connect_heap_mb: int = 512
    connect_worker: str = ""
    """A worker.properties to start from; default connect-config/worker.properties of the checkout, where there is one."""
    cassandra_heap_mb: int = 1024
    redis_memory_mb: int = 256
    start_within: float = 120.0
    """Seconds that a server may take until it answers."""
    patience_seconds: float = 600.0
    """How long the demo tries a step of its start again while a server is away, before it ends with code 3."""

    def cache_path(self) -> Path:
        """The cache folder, absolute."""
        return Path(self.cache).expanduser().resolve()

    def chosen_ports(self) -> dict[str, int]:
        """``ports`` as a mapping.

        Raises:
            SettingsError: an entry is not NAME=PORT.
        """
        chosen: dict[str, int] = {}
        for entry in filter(None, (part.strip() for part in self.ports.split(","))):
            name, _, port = entry.partition("=")
            if not port.isdigit() or not 0 < int(port) < 65536:
                raise SettingsError(self.variable("ports"), f"{entry!r} is not NAME=PORT; write for example mongo=27017,kafka=9092")
            chosen[name] = int(port)
        return chosen
