"""What only a test resolves, kept in the cache of the servers' artefacts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from millrace_stack.settings import StackSettings


def cached(name: str, pins: str, make: Callable[[Path], None]) -> Path:
    """The folder of these pins; ``make`` fills it the first time, and half of it is never seen."""
    cache = StackSettings.load(os.environ).cache_path()
    folder = cache / f"{name}-{pins}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f"making-{name}-", dir=cache))
        try:
            make(temporary)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder
