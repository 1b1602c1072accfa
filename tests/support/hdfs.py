"""A real HDFS of one NameNode and one DataNode on 127.0.0.1; its jars are resolved once, pinned as the stack's are."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace_stack.artefacts import fetch
from millrace_stack.artefacts.sets import JarSet
from millrace_stack.java import find_java
from tests.support.cached import cached
from tests.support.ports import free_port, listens
from tests.support.waiting import wait_until

_HERE = Path(__file__).parent
_LOG = (
    "log4j.rootLogger=INFO,console",
    "log4j.appender.console=org.apache.log4j.ConsoleAppender",
    "log4j.appender.console.layout=org.apache.log4j.PatternLayout",
    "log4j.appender.console.layout.ConversionPattern=%d %p %c: %m%n",
)
_SERVER = "org.apache.hadoop.hdfs.server"


@dataclass(frozen=True)
class HdfsJars(JarSet):
    """Pinned beside this file: only a test needs them."""

    @property
    def pom(self) -> Path:
        return _HERE / "hdfs.xml"

    def checksums(self) -> dict[str, str]:
        lines = (_HERE / "hdfs.sha256").read_text().splitlines()
        return {name: digest for digest, name in (line.split() for line in lines)}

    def pins(self) -> str:
        return hashlib.sha256(self.pom.read_bytes() + (_HERE / "hdfs.sha256").read_bytes()).hexdigest()[:12]


def jars() -> Path:
    """The folder of the jars."""
    wanted = HdfsJars("hdfs", 60)
    return cached("hdfs", wanted.pins(), lambda folder: fetch.jars(wanted, folder))


@contextmanager
def hdfs(folder: Path) -> Iterator[str]:
    """Start it with its data in a folder; its URL."""
    port = free_port()
    (folder / "conf").mkdir(parents=True)
    for name in ("hdfs", "datanode"):
        (folder / "conf" / "webapps" / name).mkdir(parents=True)
    _configure(folder, port)
    command = [str(find_java(os.environ)), "-Xmx256m", f"-Dhadoop.log.dir={folder}", "-cp", f"{folder / 'conf'}:{jars()}/*"]
    log = folder / "hdfs.log"
    with log.open("ab") as out:
        format_it = [*command, f"{_SERVER}.namenode.NameNode", "-format", "-force", "-nonInteractive"]
        subprocess.run(format_it, stdout=out, stderr=out, check=True, timeout=120)
        parts = [f"{_SERVER}.namenode.NameNode", f"{_SERVER}.datanode.DataNode"]
        started = []
        try:
            for part in parts:
                started.append(subprocess.Popen([*command, part], stdout=out, stderr=out, start_new_session=True))
                wait_until(lambda: listens(port), 120, f"the NameNode listens; see {log}")
            wait_until(lambda: "Successfully sent block report" in log.read_text(), 120, f"a DataNode has reported; see {log}")
            yield f"hdfs://127.0.0.1:{port}"
        finally:
            for process in started:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


def _configure(folder: Path, port: int) -> None:
    anywhere = "127.0.0.1:0"
    settings = {
        "fs.defaultFS": f"hdfs://127.0.0.1:{port}",
        "hadoop.tmp.dir": str(folder / "tmp"),
        "dfs.replication": "1",
        "dfs.permissions.enabled": "false",
        "dfs.namenode.rpc-address": f"127.0.0.1:{port}",
        "dfs.namenode.http-address": anywhere,
        "dfs.namenode.name.dir": str(folder / "name"),
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.datanode.address": anywhere,
        "dfs.datanode.http.address": anywhere,
        "dfs.datanode.ipc.address": anywhere,
        "dfs.datanode.data.dir": str(folder / "data"),
    }
    rows = "".join(f"<property><name>{name}</name><value>{value}</value></property>" for name, value in settings.items())
    for name in ("core-site.xml", "hdfs-site.xml"):
        (folder / "conf" / name).write_text(f"<configuration>{rows}</configuration>")
    (folder / "conf" / "log4j.properties").write_text("\n".join(_LOG))
