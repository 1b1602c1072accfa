"""A real ring of Cassandra nodes on 127.0.0.1, each with ports of its own; every node holds every row."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import TracebackType

from cassandra import ConsistencyLevel, OperationTimedOut, RequestExecutionException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import RoundRobinPolicy

from millrace_stack import ports
from millrace_stack.artefacts.resolve import resolve
from millrace_stack.home import Home
from millrace_stack.java import find_java
from millrace_stack.processes import Processes, ProcessSpec
from millrace_stack.servers.base import Context
from millrace_stack.servers.cassandra import Cassandra
from millrace_stack.settings import StackSettings
from tests.support.waiting import wait_until

_SMALL = {"MILLRACE_STACK_CASSANDRA_HEAP_MB": "512"}
_RING = 2**64
_OF_ALL = "SELECT * FROM system_distributed.view_build_status WHERE keyspace_name = 'k' AND view_name = 'v'"
"""A read from a keyspace of three replicas."""
NODES = 3


class Ring:
    """Three nodes; ``kill``, ``pause``, ``resume`` and ``restart`` name one by its number."""

    def __init__(self, folder: Path) -> None:
        self._settings = StackSettings.load({**_SMALL, **os.environ})
        self._artefacts = resolve(Cassandra.sets, self._settings.cache_path(), lambda line: None)
        self._homes = [Home(folder / f"node{number}") for number in range(NODES)]
        self._processes = [Processes(home) for home in self._homes]
        self._ports = [ports.assign(home, Cassandra.ports, {}) for home in self._homes]

    @property
    def environ(self) -> dict[str, str]:
        """Settings of clients: the first node is the contact point."""
        replication = f"{{'class': 'SimpleStrategy', 'replication_factor': {NODES}}}"
        port = str(self._ports[0]["cassandra"])
        return {"MILLRACE_CASSANDRA_HOSTS": "127.0.0.1", "MILLRACE_CASSANDRA_PORT": port, "MILLRACE_CASSANDRA_REPLICATION": replication}

    def __enter__(self) -> Ring:
        try:
            for number in range(NODES):
                self.restart(number)
            self.wait_whole()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        for processes in self._processes:
            processes.stop("cassandra", within=0.0)

    def kill(self, number: int) -> None:
        """kill -9."""
        assert self._processes[number].kill("cassandra")

    def pause(self, number: int) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        assert self._processes[number].pause("cassandra")

    def resume(self, number: int) -> None:
        """SIGCONT."""
        assert self._processes[number].resume("cassandra")

    def restart(self, number: int) -> None:
        """Start a node, or start it again on its data."""
        self._processes[number].start(self._spec(number))

    def wait_whole(self) -> None:
        """Wait until every node answers as coordinator of a read of all replicas."""
        wait_until(self._whole, 120, "every node sees every other one")

    def _whole(self) -> bool:
        profile = ExecutionProfile(RoundRobinPolicy(), consistency_level=ConsistencyLevel.ALL, request_timeout=10)
        port = self._ports[0]["cassandra"]
        try:
            with Cluster(["127.0.0.1"], port=port, protocol_version=5, execution_profiles={EXEC_PROFILE_DEFAULT: profile}) as cluster:
                session, hosts = cluster.connect(), cluster.metadata.all_hosts()
                for host in hosts:
                    session.execute(_OF_ALL, host=host)
                return len(hosts) == NODES
        except (NoHostAvailable, RequestExecutionException, OperationTimedOut):
            return False

    def _spec(self, number: int) -> ProcessSpec:
        """The node that the stack would run, with a token, a seed and a size of the ring's."""
        home = self._homes[number]
        context = Context(home, self._settings, self._ports[number], {}, self._artefacts, str(find_java(os.environ)))
        spec = Cassandra().spec(context)
        own, seed = (f"127.0.0.1:{at['cassandra-storage']}" for at in (self._ports[number], self._ports[0]))
        yaml = home.folder("data", "cassandra", "conf") / "cassandra.yaml"
        text = yaml.read_text()
        assert own in text
        yaml.write_text(text.replace(own, seed).replace("_space: 256MiB", "_space: 64MiB"))
        token = number * _RING // NODES - _RING // 2 + 1  # the least token is no node's
        # A member that has been silent for the ring's delay is forgotten.
        others = {
            "-Dcassandra.initial_token=0": f"-Dcassandra.initial_token={token}",
            "-Dcassandra.ring_delay_ms=100": "-Dcassandra.ring_delay_ms=10000",
        }
        assert others.keys() <= set(spec.command)
        command = [others.get(part, part) for part in spec.command]
        return dataclasses.replace(spec, command=command)
