"""docs/api.md names every error code, status and REST path that the API has, and none besides."""

from __future__ import annotations

import importlib
import pkgutil
import re

import millrace_graphql
from millrace_graphql.errors import ApiError
from millrace_graphql.rest.routes import PATHS
from tests.unit.docs.pages import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()
NOT_RAISED = {"INTERNAL": 500, "METHOD_NOT_ALLOWED": 405}
"""Codes that are not an error of their own: what is masked, and what the router refuses."""


def errors() -> list[type[ApiError]]:
    for module in pkgutil.walk_packages(millrace_graphql.__path__, "millrace_graphql."):
        if not module.name.endswith((".server", ".cli")):
            importlib.import_module(module.name)
    found, ahead = [], [ApiError]
    while ahead:
        found.append(ahead.pop())
        ahead += found[-1].__subclasses__()
    return found


def test_every_error_code_stands_in_the_table_with_its_status() -> None:
    described = {code: int(status) for code, status in re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", PAGE, re.M)}
    assert described == {error.code: error.status for error in errors()} | NOT_RAISED


def test_every_path_stands_in_the_table() -> None:
    assert re.findall(r"^\| `(/v1/[^`]*)` \|", PAGE, re.M) == list(PATHS)
