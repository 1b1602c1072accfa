"""What the supervisor needs to know of a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace_stack.home import Home
from millrace_stack.processes import ProcessSpec
from millrace_stack.readiness import Probe
from millrace_stack.settings import StackSettings


@dataclass(frozen=True)
class Context:
    """What a server is started with."""

    home: Home
    settings: StackSettings
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    """Everything of secrets.json."""
    artefacts: Mapping[str, Path]
    """Folder of jars or path of the program, by set."""
    java: str = "java"


class Server(ABC):
    """One server; it holds no state."""

    name: str
    ports: tuple[str, ...]
    """Names of its ports; the first one is its address."""
    sets: tuple[str, ...] = ()
    """Artefact sets that it is run from."""
    needs: tuple[str, ...] = ()
    """Servers that must be ready before it starts."""

    @abstractmethod
    def spec(self, context: Context) -> ProcessSpec:
        """Write the configuration and say what to run."""

    @abstractmethod
    def healthy(self, context: Context) -> Probe:
        """A probe that is true while it serves clients."""

    def prepare(self, context: Context) -> None:
        """What is to be done once it answers; repeated at every start."""
        return

    def endpoints(self, context: Context) -> dict[str, str]:
        """Settings for its clients."""
        return {}

    def new_secrets(self, ports: Mapping[str, int], known: Mapping[str, str]) -> dict[str, str]:
        """Secrets that are to be made or renewed."""
        return {}

    def process(
        self,
        context: Context,
        command: Sequence[str],
        stop_within: float,
        *,
        ready: Probe | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ProcessSpec:
        """What to run; ``ready`` where it answers before it can be healthy."""
        ports, within = self.own_ports(context), context.settings.start_within
        return ProcessSpec(self.name, command, ready or self.healthy(context), environment or {}, ports, within, stop_within)

    def own_ports(self, context: Context) -> dict[str, int]:
        """Its ports by name."""
        return {name: context.ports[name] for name in self.ports}


def java_command(context: Context, heap_mb: int, class_path: list[str], main: str, flags: list[str], arguments: list[str]) -> list[str]:
    """A JVM that gives up at once when its heap is full, so that the supervisor sees it."""
    return [
        context.java,
        f"-Xmx{heap_mb}m",
        f"-Xms{min(heap_mb, 256)}m",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        *flags,
        "-cp",
        ":".join(class_path),
        main,
        *arguments,
    ]


def log4j2_config(folder: Path) -> str:
    """A log4j2 configuration that prints to standard output; Kafka logs nothing without one. Answers the JVM flag."""
    path = folder / "log4j2.xml"
    path.write_text(
        '<Configuration status="WARN"><Appenders>'
        '<Console name="out"><PatternLayout pattern="%d{ISO8601} %p %c{1} %m%n"/></Console></Appenders>'
        '<Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers></Configuration>\n'
    )
    return f"-Dlog4j2.configurationFile={path.as_uri()}"
