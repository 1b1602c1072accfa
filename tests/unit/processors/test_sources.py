"""How Spark's Kafka source and sink are told about encryption and login."""

from __future__ import annotations

from millrace_contracts.settings import KafkaSettings
from millrace_processors.sources import client_options


def test_spark_logs_in_over_tls_as_kafkas_java_clients_do() -> None:
    kafka = KafkaSettings(
        bootstrap="kafka:9093", security_protocol="SASL_SSL", sasl_mechanism="PLAIN", username="jobs", password="secret", ca_file="/ca.pem"
    )
    assert client_options(kafka) == {
        "kafka.bootstrap.servers": "kafka:9093",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "PLAIN",
        "kafka.sasl.jaas.config": ('org.apache.kafka.common.security.plain.PlainLoginModule required username="jobs" password="secret";'),
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": "/ca.pem",
    }


def test_without_security_spark_is_given_the_address() -> None:
    assert client_options(KafkaSettings(bootstrap="h:1")) == {"kafka.bootstrap.servers": "h:1", "kafka.security.protocol": "PLAINTEXT"}
