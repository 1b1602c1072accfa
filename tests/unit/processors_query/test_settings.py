"""The query service's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_contracts.settings import SettingsError
from millrace_processors.query.settings import QueryConfig


def test_folders_and_keys_have_their_local_defaults(tmp_path: Path) -> None:
    config = QueryConfig.load({"MILLRACE_HOME": str(tmp_path), "MILLRACE_SPARK_JARS": str(tmp_path)})
    assert config.query.results == str(tmp_path / "queries")
    assert config.token.jwks == str(tmp_path / "keys" / "jwks.json")


def test_the_published_issuer_is_refused_in_production(tmp_path: Path) -> None:
    environ = {"MILLRACE_HOME": str(tmp_path), "MILLRACE_SPARK_JARS": str(tmp_path), "MILLRACE_RUNTIME_ENVIRONMENT": "production"}
    with pytest.raises(SettingsError, match="MILLRACE_API_ISSUER"):
        QueryConfig.load(environ)
    assert QueryConfig.load({**environ, "MILLRACE_API_ISSUER": "https://id.example.org"}).token.issuer == "https://id.example.org"


@pytest.mark.parametrize(("name", "value"), [("TIMEOUT_SECONDS", "0"), ("MAX_RUNNING", "many"), ("MAX_RESULT_ROWS", "-1")])
def test_a_limit_that_does_not_fit_is_told_by_its_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"MILLRACE_QUERY_{name}"):
        QueryConfig.load({"MILLRACE_HOME": str(tmp_path), "MILLRACE_SPARK_JARS": str(tmp_path), f"MILLRACE_QUERY_{name}": value})
