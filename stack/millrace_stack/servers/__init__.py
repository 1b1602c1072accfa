"""The servers, one file each; ``ALL`` in the order in which they start."""

from __future__ import annotations

from millrace_stack.servers.base import Context, Server
from millrace_stack.servers.cassandra import Cassandra
from millrace_stack.servers.connect import Connect
from millrace_stack.servers.kafka import Kafka
from millrace_stack.servers.mongo import Mongo
from millrace_stack.servers.redis import Redis

ALL: dict[str, Server] = {server.name: server for server in (Mongo(), Kafka(), Connect(), Cassandra(), Redis())}

__all__ = ["ALL", "Context", "Server"]
