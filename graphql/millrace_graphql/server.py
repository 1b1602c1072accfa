"""The target that Granian's workers import: an application made from the environment."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from starlette.types import ASGIApp

from millrace_contracts.settings import RuntimeSettings
from millrace_graphql.app import create_app, shortcut
from millrace_runtime import logs

_PR_SET_PDEATHSIG = 1


def target() -> ASGIApp:
    """The application of one worker."""
    _end_with_parent()
    logs.configure(RuntimeSettings.load(os.environ), "graphql")
    return shortcut(create_app(os.environ))


def _end_with_parent() -> None:
    """A worker whose supervisor was killed would go on holding the port: let the kernel end it too."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
