"""The target that Granian's workers import: an application made from the environment."""

from __future__ import annotations

import os

from starlette.types import ASGIApp

from millrace_contracts.settings import RuntimeSettings
from millrace_graphql.app import create_app, shortcut
from millrace_runtime import logs
from millrace_runtime.supervised import end_with_supervisor


def target() -> ASGIApp:
    """The application of one worker."""
    end_with_supervisor()
    logs.configure(RuntimeSettings.load(os.environ), "graphql")
    return shortcut(create_app(os.environ))
