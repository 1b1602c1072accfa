"""Redis: a cache, so nothing is written to disk and the least recently used key gives way."""

from __future__ import annotations

from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import Probe, tcp_answers
from millrace_stack.servers.base import Context, Server


class Redis(Server):
    """redis-server."""

    name = "redis"
    ports = ("redis",)
    sets = ("redis",)

    def spec(self, context: Context) -> ProcessSpec:
        """The server without persistence."""
        command = [
            str(context.artefacts["redis"]),
            *("--port", str(context.ports["redis"]), "--bind", "127.0.0.1", "--daemonize", "no"),
            *("--dir", str(context.home.data(self.name)), "--save", "", "--appendonly", "no"),
            *("--maxmemory", f"{context.settings.redis_memory_mb}mb", "--maxmemory-policy", "allkeys-lru"),
        ]
        return ProcessSpec(self.name, command, ready=self.healthy(context), ports=self.own_ports(context), stop_within=10.0)

    def healthy(self, context: Context) -> Probe:
        """PING."""
        return tcp_answers(context.ports["redis"], b"PING\r\n", b"+PONG")

    def endpoints(self, context: Context) -> dict[str, str]:
        """The URL."""
        return {"MILLRACE_REDIS_URL": f"redis://127.0.0.1:{context.ports['redis']}/0"}
