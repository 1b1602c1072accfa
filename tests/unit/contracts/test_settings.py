"""Settings name themselves, the bad value and the fix."""

import pytest

from millrace_contracts.settings import CassandraSettings, KafkaSettings, NamesSettings, Settings, SettingsError, refuse_default_secret


class SampleSettings(Settings, group="SAMPLE"):
    needed: str
    count: int = 3


def test_a_group_reads_its_prefixed_variables_and_keeps_defaults() -> None:
    assert SampleSettings.load({"MILLRACE_SAMPLE_NEEDED": "x", "NEEDED": "y"}) == SampleSettings(needed="x", count=3)
    assert KafkaSettings.load({}).bootstrap == "127.0.0.1:9092"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert SampleSettings.load({"MILLRACE_SAMPLE_NEEDED": "x", "MILLRACE_SAMPLE_COUNT": ""}).count == 3


def test_a_missing_setting_names_itself() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_SAMPLE_NEEDED: is not set") as caught:
        SampleSettings.load({})
    assert caught.value.variable == "MILLRACE_SAMPLE_NEEDED"


def test_a_bad_setting_names_its_value() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_CASSANDRA_PORT: 'ninety' does not fit"):
        CassandraSettings.load({"MILLRACE_CASSANDRA_PORT": "ninety"})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        NamesSettings().database = "other"  # type: ignore[misc]


def test_contact_points_are_split_at_commas() -> None:
    assert CassandraSettings(hosts="a, b").contact_points() == ["a", "b"]


def test_a_default_secret_is_refused_in_production_only() -> None:
    refuse_default_secret({}, "MILLRACE_X_SECRET", "default", "default")
    refuse_default_secret({"MILLRACE_RUNTIME_ENVIRONMENT": "production"}, "MILLRACE_X_SECRET", "own", "default")
    with pytest.raises(SettingsError, match="MILLRACE_X_SECRET: still holds the default secret"):
        refuse_default_secret({"MILLRACE_RUNTIME_ENVIRONMENT": "production"}, "MILLRACE_X_SECRET", "default", "default")
