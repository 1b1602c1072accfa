"""A process in local mode never listens where other machines reach it, whichever way it is asked to."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.main import cli
from millrace_contracts.identity import TokenSettings
from millrace_contracts.settings import RuntimeSettings, SettingsError
from millrace_graphql.settings import ApiSettings
from millrace_processors.query.settings import QueryConfig
from millrace_runtime.listening import address_for
from tests.unit.cli.serving import SERVING

EVERYWHERE = ["0.0.0.0", "::", "192.168.1.7", "::ffff:192.168.1.7", "millrace.example.org", ""]
HERE = ["127.0.0.1", "127.8.8.8", "::1", "localhost"]


@pytest.mark.parametrize("words", SERVING, ids=" ".join)
def test_a_server_refuses_the_setting_with_one_line_that_names_it(words: tuple[str, ...], tmp_path: Path) -> None:
    needed = {f"MILLRACE_MONGO_{role}_URI": "mongodb://a:b@127.0.0.1:1/" for role in ("RELAY", "COLLECTION", "TRUTH", "DEBEZIUM")}
    needed |= {"MILLRACE_COLLECTION_CUSTOMER_SECRET": "s" * 64, "MILLRACE_SPARK_JARS": str(tmp_path)}
    environ = {"MILLRACE_HOME": str(tmp_path), "MILLRACE_RUNTIME_HOST": "0.0.0.0", **needed}
    ran = CliRunner().invoke(cli, [*words], env=environ)
    assert isinstance(ran.exception, SettingsError), ran.output
    assert str(ran.exception).startswith("MILLRACE_RUNTIME_HOST: '0.0.0.0' can be reached from other machines")
    assert "\n" not in str(ran.exception)


@pytest.mark.parametrize(
    "words", [each for each in SERVING if each[0] in ("api", "collection", "query") or each[:2] == ("connect", "serve")]
)
def test_a_server_refuses_the_option_too(words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"--host 0\.0\.0\.0 can be reached from other machines"):
        address_for(RuntimeSettings.load({}), "0.0.0.0")
    command: click.Command = cli
    for word in (word for word in words if not word.startswith("-") and not word.isdigit()):
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    assert "--host" in {text for parameter in command.params for text in parameter.opts}


@pytest.mark.parametrize("host", HERE)
def test_the_loopback_is_local(host: str) -> None:
    assert RuntimeSettings.load({"MILLRACE_RUNTIME_HOST": host}).host == host
    assert address_for(RuntimeSettings.load({}), host) == host


@given(st.ip_addresses().map(str) | st.text(max_size=20))
@example("0.0.0.0")
@example("127.0.0.1.example.org")
@example("localhost.")
def test_only_the_loopback_is_local(host: str) -> None:
    loopback = host == "localhost" or (host.startswith("127.") and host.count(".") == 3) or host == "::1"
    environ = {"MILLRACE_RUNTIME_HOST": host}
    if not host or (loopback and not any(letter.isalpha() for letter in host.replace("localhost", ""))):
        return
    with pytest.raises(SettingsError):
        RuntimeSettings.load(environ)
    assert RuntimeSettings.load({**environ, "MILLRACE_RUNTIME_ENVIRONMENT": "production"}).host == host


@pytest.mark.parametrize("load", [ApiSettings.checked, TokenSettings.checked, QueryConfig.load])
def test_token_keys_over_plain_http_are_refused_in_production(load: object) -> None:
    environ = {"MILLRACE_API_ISSUER": "https://id.example.org", "MILLRACE_API_JWKS": "HTTP://id.example.org/jwks.json"}
    assert callable(load)
    with contextlib.suppress(SettingsError):
        load(environ)
    with pytest.raises(SettingsError) as refused:
        load({**environ, "MILLRACE_RUNTIME_ENVIRONMENT": "production"})
    assert refused.value.variable == "MILLRACE_API_JWKS"
    assert "https://" in refused.value.problem
