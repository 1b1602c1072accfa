"""What the command says before it reaches a server."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from millrace_cdc.cli import relay
from millrace_contracts.settings import SettingsError

SETTINGS = {"MILLRACE_MONGO_RELAY_URI": "mongodb://h/"}


def test_a_stream_that_is_not_there_is_refused() -> None:
    result = CliRunner().invoke(relay, ["run", "--streams", "2", "--stream", "2"], obj=SETTINGS)
    assert result.exit_code == 2
    assert "there are 2 streams, numbered from 0" in result.output


def test_a_lease_and_a_fixed_stream_exclude_each_other() -> None:
    result = CliRunner().invoke(relay, ["run", "--streams", "2", "--stream", "1", "--shared"], obj=SETTINGS)
    assert result.exit_code == 2
    assert "leave --stream away" in result.output


@pytest.mark.parametrize("command", [["run"], ["status"], ["migrate"], ["dead-letters", "list"]])
def test_a_missing_address_names_its_setting(command: list[str]) -> None:
    result = CliRunner().invoke(relay, command, obj={})
    assert isinstance(result.exception, SettingsError)
    assert result.exception.variable == "MILLRACE_MONGO_RELAY_URI"


@pytest.mark.parametrize("setting", ["QUEUE_BYTES", "LINGER_MS", "ON_DROP", "ON_HISTORY_LOST", "STREAMS"])
def test_a_bad_setting_is_named(setting: str) -> None:
    result = CliRunner().invoke(relay, ["run"], obj={**SETTINGS, f"MILLRACE_RELAY_{setting}": "-1"})
    assert isinstance(result.exception, SettingsError)
    assert result.exception.variable == f"MILLRACE_RELAY_{setting}"


@pytest.mark.parametrize("command", [[], ["run"], ["migrate"], ["snapshot"], ["skip"], ["start-from"], ["dead-letters"]])
def test_help_teaches_with_examples(command: list[str]) -> None:
    text = CliRunner().invoke(relay, [*command, "--help"]).output
    assert "millrace relay" in text.split("Options:")[0].split("\n\n", 1)[1]


@pytest.mark.parametrize("arguments", [["-2h", "--streams", "65"], ["--streams", "65", "-2h"]])
def test_a_time_ago_is_a_point_and_no_option(arguments: list[str]) -> None:
    result = CliRunner().invoke(relay, ["start-from", *arguments], obj=SETTINGS)
    assert (result.exit_code, "65 is not in the range" in result.output) == (2, True), result.output
    assert CliRunner().invoke(relay, ["start-from", "-2h", "-x"], obj=SETTINGS).exit_code == 2
