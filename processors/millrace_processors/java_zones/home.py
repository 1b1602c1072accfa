"""A Java home with our table of zones: links to everything of the real one but ``lib/tzdb.dat``.

A JVM reads its zones from the folder that ``-Djava.home`` names, and its own code from where it was started.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import structlog

from millrace_contracts.values import zones
from millrace_processors.java_zones import tzdb

log = structlog.get_logger()
_TABLE = Path("lib") / "tzdb.dat"


def option(environ: Mapping[str, str]) -> str:
    """The JVM's option that makes it take our table; empty where the Java that Spark will start is not laid out as a JRE."""
    real = _real(environ)
    if real is None:
        log.warning("java.zones_unpinned", problem="no Java home with lib/tzdb.dat was found; Spark's functions take Java's own zones")
        return ""
    return f"-Djava.home={_linked(real)}"


def _real(environ: Mapping[str, str]) -> Path | None:
    """The home of the Java that Spark starts."""
    found = Path(environ["JAVA_HOME"]) / "bin" / "java" if environ.get("JAVA_HOME") else shutil.which("java", path=environ.get("PATH"))
    home = Path(found).resolve().parents[1] if found else None
    return home if home and (home / _TABLE).is_file() else None


def _linked(real: Path) -> Path:
    """The home beside ``real``: made once for each release of the zones, also by processes that start at the same time."""
    digest = hashlib.sha256(f"{zones.VERSION} {real}".encode()).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"millrace-java-{os.getuid()}-{digest}"
    if _ours(home):
        return home
    made = Path(tempfile.mkdtemp(prefix="millrace-java-"))
    _fill(made, real)
    try:
        made.rename(home)
    except OSError:  # another process was faster, or the name is somebody else's
        if not _ours(home):
            return made
        shutil.rmtree(made)
    return home


def _ours(home: Path) -> bool:
    """Whether it is there, whole, and nobody else can write to it."""
    there = (home / _TABLE).is_file() and not home.is_symlink()
    return there and home.stat().st_uid == os.getuid() and not home.stat().st_mode & 0o077


def _fill(made: Path, real: Path) -> None:
    lib = made / "lib"
    lib.mkdir()
    for below, folder in ((made, real), (lib, real / "lib")):
        for entry in folder.iterdir():
            if not (below / entry.name).exists() and entry != real / _TABLE:
                (below / entry.name).symlink_to(entry)
    (made / _TABLE).write_bytes(tzdb.table())
