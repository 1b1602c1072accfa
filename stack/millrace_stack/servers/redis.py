"""Redis: a cache, so nothing is written to disk and the least recently used key gives way."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import Probe, tcp_answers
from millrace_stack.servers.base import Context, Server

_URL = "MILLRACE_REDIS_URL"


class Redis(Server):
    """redis-server, with a password: other users of this machine reach the port too."""

    name = "redis"
    ports = ("redis",)
    sets = ("redis",)

    def spec(self, context: Context) -> ProcessSpec:
        """The server without persistence. Its password is in a file, as a command line is readable for everybody."""
        data = context.home.data(self.name)
        config = data / "redis.conf"
        config.touch(0o600)
        config.write_text(f"requirepass {_password(context.secrets[_URL])}\n")
        command = [
            str(context.artefacts["redis"]),
            str(config),
            *("--port", str(context.ports["redis"]), "--bind", "127.0.0.1", "--daemonize", "no"),
            *("--dir", str(data), "--save", "", "--appendonly", "no"),
            *("--maxmemory", f"{context.settings.redis_memory_mb}mb", "--maxmemory-policy", "allkeys-lru"),
        ]
        return self.process(context, command, 10.0)

    def healthy(self, context: Context) -> Probe:
        """PING, logged in."""
        login = f"AUTH {_password(context.secrets[_URL])}\r\nPING\r\n"
        return tcp_answers(context.ports["redis"], login.encode(), b"+OK\r\n+PONG")

    def new_secrets(self, ports: Mapping[str, int], known: Mapping[str, str]) -> dict[str, str]:
        """The URL with a password; a new port goes into the one that is there."""
        password = _password(known.get(_URL, "")) or secrets.token_urlsafe(24)
        return {_URL: f"redis://:{password}@127.0.0.1:{ports['redis']}/0"}


def _password(url: str) -> str:
    return urlsplit(url).password or ""
