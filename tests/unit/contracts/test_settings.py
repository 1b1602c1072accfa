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


SECURED = {
    "MILLRACE_KAFKA_BOOTSTRAP": "kafka:9093",
    "MILLRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "MILLRACE_KAFKA_USERNAME": "relay",
    "MILLRACE_KAFKA_PASSWORD": 'a"b\\c',
    "MILLRACE_KAFKA_CA_FILE": "/etc/millrace/ca.pem",
}


def test_a_client_of_librdkafka_logs_in_over_tls() -> None:
    assert KafkaSettings.load(SECURED).client() == {
        "bootstrap.servers": "kafka:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "relay",
        "sasl.password": 'a"b\\c',
        "ssl.ca.location": "/etc/millrace/ca.pem",
    }


def test_a_client_of_kafkas_java_library_logs_in_over_tls() -> None:
    assert KafkaSettings.load(SECURED).java_client() == {
        "bootstrap.servers": "kafka:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": ('org.apache.kafka.common.security.scram.ScramLoginModule required username="relay" password="a\\"b\\\\c";'),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/etc/millrace/ca.pem",
    }


def test_the_plain_mechanism_has_a_login_module_of_its_own() -> None:
    made = KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", username="u", password="p", ca_file="unused")
    assert made.java_client() == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": 'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p";',
    }
    assert "ssl.ca.location" not in made.client()


def test_without_security_a_client_has_an_address_only() -> None:
    plain = {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "PLAINTEXT"}
    assert KafkaSettings().client() == KafkaSettings().java_client() == plain
    assert KafkaSettings(security_protocol="SSL", ca_file="ca").client() == {**plain, "security.protocol": "SSL", "ssl.ca.location": "ca"}


@pytest.mark.parametrize("missing", ["USERNAME", "PASSWORD"])
def test_a_login_without_a_name_or_password_is_refused_by_name(missing: str) -> None:
    given = {name: value for name, value in SECURED.items() if not name.endswith(missing)}
    with pytest.raises(SettingsError, match=f"MILLRACE_KAFKA_{missing}: is not set, which SASL_SSL needs"):
        KafkaSettings.load(given)


def test_a_password_is_not_printed_with_its_settings() -> None:
    assert 'a"b' not in repr(KafkaSettings.load(SECURED))
