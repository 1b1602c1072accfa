"""Cassandra: one node that starts without waiting for a ring."""

from __future__ import annotations

from pathlib import Path

from millrace_stack.errors import ArtefactError
from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import Probe, tcp_answers
from millrace_stack.servers.base import Context, Server, java_command

# An OPTIONS frame of the native protocol, version 4, and the head of its answer, SUPPORTED.
_OPTIONS = bytes([0x04, 0x00, 0x00, 0x00, 0x05, 0, 0, 0, 0])
_SUPPORTED = bytes([0x84, 0x00, 0x00, 0x00, 0x06])

_EXPORTS = {
    "java.base": "jdk.internal.misc jdk.internal.ref sun.nio.ch java.lang.ref",
    "java.management.rmi": "com.sun.jmx.remote.internal.rmi",
    "java.rmi": "sun.rmi.registry sun.rmi.server sun.rmi.transport sun.rmi.transport.tcp",
    "java.sql": "java.sql",
    "jdk.unsupported": "sun.misc",
}
_OPENS = {
    "java.base": "java.lang java.lang.module java.lang.reflect java.io java.nio java.util java.util.concurrent"
    " java.util.concurrent.atomic java.math java.net sun.nio.ch jdk.internal.loader jdk.internal.ref jdk.internal.reflect"
    " jdk.internal.math jdk.internal.module jdk.internal.util.jar",
    "jdk.management": "com.sun.management.internal",
    "jdk.management.agent": "jdk.internal.agent",
}

_LOGBACK = """<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""


class Cassandra(Server):
    """The node."""

    name = "cassandra"
    ports = ("cassandra", "cassandra-storage", "cassandra-jmx")
    sets = ("cassandra",)

    def spec(self, context: Context) -> ProcessSpec:
        """The daemon with its yaml."""
        data = context.home.data(self.name)
        conf = context.home.folder("data", self.name, "conf")
        (conf / "cassandra.yaml").write_text(_yaml(context, data))
        (conf / "logback.xml").write_text(_LOGBACK)
        jars = context.artefacts["cassandra"]
        command = java_command(
            context,
            context.settings.cassandra_heap_mb,
            [str(conf), f"{jars}/*"],
            "org.apache.cassandra.service.CassandraDaemon",
            [*_jvm_flags(jars), *_system_properties(context, data, conf)],
            [],
        )
        return self.process(context, command, 40.0)

    def healthy(self, context: Context) -> Probe:
        """Whether the native protocol answers; its port opens last."""
        return tcp_answers(context.ports["cassandra"], _OPTIONS, _SUPPORTED)

    def endpoints(self, context: Context) -> dict[str, str]:
        """Contact point and port."""
        return {"MILLRACE_CASSANDRA_HOSTS": "127.0.0.1", "MILLRACE_CASSANDRA_PORT": str(context.ports["cassandra"])}


def _jvm_flags(jars: Path) -> list[str]:
    agents = sorted(jars.glob("jamm-*.jar"))
    if not agents:
        raise ArtefactError(f"cassandra: no jamm jar in {jars}; remove that folder and run `millrace stack resolve`")
    return [
        f"-javaagent:{agents[0]}",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-XX:+ParallelRefProcEnabled",
        "-XX:MaxGCPauseMillis=300",
        "-XX:+PerfDisableSharedMem",
        "-Xss256k",
        *(f"--add-exports={module}/{package}=ALL-UNNAMED" for module, packages in _EXPORTS.items() for package in packages.split()),
        *(f"--add-opens={module}/{package}=ALL-UNNAMED" for module, packages in _OPENS.items() for package in packages.split()),
    ]


def _system_properties(context: Context, data: Path, conf: Path) -> list[str]:
    temporary = context.home.folder("data", "cassandra", "tmp")
    return [
        f"-Dcassandra.config={(conf / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.storagedir={data}",
        f"-Dcassandra.logdir={data}",
        f"-Dlogback.configurationFile={(conf / 'logback.xml').as_uri()}",
        f"-Djava.io.tmpdir={temporary}",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=100",
        "-Dcassandra.superuser_setup_delay_ms=-1",
        "-Dcassandra.initial_token=0",
        f"-Dcassandra.jmx.local.port={context.ports['cassandra-jmx']}",
        "-Dcassandra.libjemalloc=-",
    ]


def _yaml(context: Context, data: Path) -> str:
    # commitlog_sync is group, not periodic: a report that was acknowledged must survive kill -9, since the checkpoint counts it as written.
    storage = context.ports["cassandra-storage"]
    return f"""cluster_name: millrace
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
storage_compatibility_mode: NONE
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{storage}"}}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: {storage}
native_transport_port: {context.ports["cassandra"]}
data_file_directories: ["{data}/data"]
commitlog_directory: "{data}/commitlog"
saved_caches_directory: "{data}/saved_caches"
hints_directory: "{data}/hints"
cdc_raw_directory: "{data}/cdc_raw"
commitlog_sync: group
commitlog_sync_group_window: 2ms
commitlog_disk_access_mode: legacy
auto_snapshot: false
hinted_handoff_enabled: false
auto_bootstrap: false
concurrent_reads: 16
concurrent_writes: 64
memtable_heap_space: 256MiB
memtable_offheap_space: 256MiB
memtable_allocation_type: offheap_objects
memtable:
  configurations:
    trie: {{class_name: TrieMemtable}}
    default: {{inherits: trie}}
sstable:
  selected_format: bti
default_compaction:
  class_name: UnifiedCompactionStrategy
  parameters: {{scaling_parameters: T4, target_sstable_size: 256MiB}}
concurrent_compactors: 1
batch_size_warn_threshold: 64KiB
batch_size_fail_threshold: 640KiB
"""
