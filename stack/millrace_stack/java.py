"""Find the Java that the servers run on: 17, which is what Cassandra 5, Kafka 4 and Spark 4 share."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace_stack.errors import PrerequisiteMissing

VERSION = 17
_JVMS = Path("/usr/lib/jvm")


def find_java(environ: Mapping[str, str]) -> Path:
    """JAVA_HOME's program, else the one on the PATH, else one of the system's, whichever is version 17.

    Raises:
        PrerequisiteMissing: there is none.
    """
    for program in _candidates(environ):
        if program.is_file() and _version(program) == VERSION:
            return program.resolve()
    raise PrerequisiteMissing(
        f"Java {VERSION} was not found: `sudo apt-get install -y openjdk-{VERSION}-jre-headless`, or set JAVA_HOME to one"
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if environ.get("JAVA_HOME"):
        yield Path(environ["JAVA_HOME"]) / "bin" / "java"
    if on_path := shutil.which("java"):
        yield Path(on_path)
    if _JVMS.is_dir():
        yield from sorted(_JVMS.glob(f"*{VERSION}*/bin/java"))


def _version(program: Path) -> int | None:
    try:
        done = subprocess.run([str(program), "-version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if found else None
