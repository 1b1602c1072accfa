"""Where settings come from: the environment first, then what the local stack wrote, so that any program can join it.

``<home>/endpoints.json`` and ``<home>/secrets.json`` (mode 0600) each hold ``{"settings": {"MILLRACE_...": "..."}}`` beside whatever a
person may want to read there. ``home`` is ``MILLRACE_HOME`` or the nearest ``.millrace`` at or above the working directory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

FILES = ("endpoints.json", "secrets.json")


def find_home(environ: Mapping[str, str], cwd: Path) -> Path:
    """The folder of the local stack; it need not exist yet."""
    if environ.get("MILLRACE_HOME"):
        return Path(environ["MILLRACE_HOME"]).resolve()
    for folder in (cwd, *cwd.parents):
        if (folder / ".millrace").is_dir():
            return folder / ".millrace"
    return cwd / ".millrace"


def joined(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment with the local stack's settings underneath.

    Raises:
        ValueError: a file is not what it should be; the message names it and the fix.
    """
    merged: dict[str, str] = {}
    for name in FILES:
        path = home / name
        if path.is_file():
            try:
                merged.update(json.loads(path.read_text())["settings"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}: not a settings file ({error}); remove it and run `millrace stack up` again") from None
    return {**merged, **environ, "MILLRACE_HOME": str(home)}
