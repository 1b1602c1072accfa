"""The folder of one local installation: data, logs, records of processes, and the settings that others read.

Only its owner may look inside (mode 0700): logs, the lake and the reports are not for other users of the machine.

<home>/endpoints.json   addresses, {"settings": {"MILLRACE_...": "..."}}
<home>/secrets.json     the same with passwords, mode 0600
<home>/ports.json       ports by name, so that a restart keeps its addresses
<home>/data/<server>    what a server stores
<home>/logs/<name>.log  what a process printed
<home>/run/<name>.json  which process is ours, see processes.py
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace_stack.errors import StackError

ENDPOINTS = "endpoints.json"
SECRETS = "secrets.json"


@dataclass(frozen=True)
class Home:
    """Paths and files of one installation; nothing is made until it is needed."""

    path: Path

    def folder(self, *parts: str) -> Path:
        """A folder below home, made where it is missing."""
        folder = self.path.joinpath(*parts)
        try:
            self._keep_private()
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(f"cannot make {folder} ({error.strerror}); give another folder with MILLRACE_HOME") from None
        return folder

    def _keep_private(self) -> None:
        """Whatever the umask is, and also where the folder is an older one."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & stat.S_ISVTX:
            raise StackError(f"{self.path} is a folder that several users share; give another one with MILLRACE_HOME")
        if mode & 0o077:
            self.path.chmod(mode & ~0o077)

    def data(self, server: str) -> Path:
        """What a server stores."""
        return self.folder("data", server)

    def log(self, name: str) -> Path:
        """What a process printed."""
        return self.folder("logs") / f"{name}.log"

    def settings(self) -> dict[str, str]:
        """Everything published here, secrets included."""
        return {**self._published(ENDPOINTS), **self._published(SECRETS)}

    def publish(self, endpoints: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> None:
        """Add settings for other programs to read; what others published stays."""
        with self.lock("settings"):
            if endpoints:
                self._merge(ENDPOINTS, endpoints, 0o644)
            if secrets:
                self._merge(SECRETS, secrets, 0o600)

    def withdraw(self, names: list[str]) -> None:
        """Remove settings, for a process that is gone."""
        with self.lock("settings"):
            kept = {name: value for name, value in self._published(ENDPOINTS).items() if name not in names}
            write_json(self.path / ENDPOINTS, {**self._read(ENDPOINTS), "settings": kept})

    @contextmanager
    def lock(self, name: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold an inter-process lock; ``waiting`` is told who holds it where one has to wait. A dead holder frees it."""
        path = self.folder("run") / f"{name}.lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                if waiting:
                    waiting(file.read().strip() or "?")
                fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _published(self, name: str) -> dict[str, str]:
        settings = self._read(name).get("settings", {})
        return dict(settings) if isinstance(settings, dict) else {}

    def _read(self, name: str) -> dict[str, Any]:
        return read_json(self.path / name) or {}

    def _merge(self, name: str, settings: Mapping[str, str], mode: int) -> None:
        write_json(self.path / name, {**self._read(name), "settings": {**self._published(name), **settings}}, mode)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file.

    Raises:
        StackError: the file holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StackError(f"{path}: not JSON ({error}); remove it and start again") from None
    if not isinstance(content, dict):
        raise StackError(f"{path}: not a JSON object; remove it and start again")
    return content


def write_json(path: Path, content: Mapping[str, Any], mode: int = 0o644) -> None:
    """Replace a file at once: a reader sees the old or the new content, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=2, sort_keys=True)
            file.write("\n")
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
