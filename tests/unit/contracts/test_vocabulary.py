"""Golden names: topics, keys, tables and pseudonyms outlive a process and must not drift."""

import itertools

import pytest

from millrace_contracts import changes, documents, facts, metrics, notices, reports, topics
from millrace_contracts.settings import NamesSettings

NAMES = NamesSettings()


def test_topics_are_named_as_debezium_names_them() -> None:
    assert [(topic.name, topic.partitions) for topic in topics.declared(NAMES)] == [
        ("millrace.commerce.payments", 4),
        ("millrace.commerce.merchants", 1),
        ("millrace.commerce.users", 1),
        ("millrace.relay.progress", 1),
        ("millrace.dead-letters", 1),
        ("millrace.audit", 1),
    ]
    assert topics.transactional_id(NAMES, "payments", 0) == "millrace.relay.commerce.payments.0"


def test_redis_keys_of_a_merchant_share_one_cluster_slot() -> None:
    assert notices.changed_key("millrace", "m1") == "millrace:{m1}:changed"
    assert (notices.missed_key("millrace"), notices.SINCE) == ("millrace:missed", "since")
    assert notices.chunk_key("millrace", "m1", "2026-11-24") == "millrace:{m1}:raw:2026-11-24"
    assert notices.channel("millrace") == "millrace:notices"
    assert notices.epoch_key("millrace") == "millrace:epoch"
    assert notices.CACHE_TTL_SECONDS == 2_419_200


def test_a_customer_key_is_the_keyed_hash_of_the_user_id() -> None:
    # RFC 4231, test case 2: HMAC-SHA256("Jefe", "what do ya want for nothing?") = 5bdcc146bf60754e6a042426089575c7...
    assert documents.customer_key(b"Jefe", "what do ya want for nothing?") == "W9zBRr9gdU5qBCQmCJV1xw"


def test_no_sensitive_field_is_captured() -> None:
    captured = set(documents.PAYMENT_CAPTURED_FIELDS)
    assert "user.key" in captured
    assert not captured & {"user", "user.id", "user.email", "user.dateOfBirth"}  # I12


@pytest.mark.parametrize(
    ("birth_year", "year", "band"),
    [
        (2009, 2026, "0-17"), (2008, 2026, "18-24"), (2002, 2026, "18-24"), (2001, 2026, "25-34"),
        (1961, 2026, "65+"), (1962, 2026, "55-64"),
        (None, 2026, "unknown"), (2027, 2026, "unknown"), (1905, 2026, "unknown"), (1906, 2026, "65+"),
    ],
)  # fmt: skip
def test_age_bands_by_calendar_year(birth_year: int | None, year: int, band: str) -> None:
    assert facts.age_band(birth_year, year) == band


def test_versions_order_by_cluster_time_then_token() -> None:
    ordered = [
        changes.Version(changes.cluster_time(5, 1)),
        changes.Version(changes.cluster_time(5, 1), "82A"),
        changes.Version(changes.cluster_time(5, 1), "82B"),
        changes.Version(changes.cluster_time(5, 2)),
        changes.Version(changes.cluster_time(6, 0), "8200"),
    ]
    assert all(sorted(mixed) == ordered for mixed in itertools.permutations(ordered))
    assert changes.cluster_time_ms(changes.cluster_time(5, 2)) == 5000


def test_every_metric_is_made_of_columns_that_a_report_has() -> None:
    for metric in metrics.METRICS:
        assert set(metric.columns) <= set(reports.CONTENT), metric.name


def test_the_reports_table_has_every_column_of_a_report() -> None:
    table = next(text for text in reports.statements("k", "{}") if f"k.{reports.REPORTS_TABLE} " in text)
    for column in (*reports.KEY, *reports.CONTENT, "version", "complete_through"):
        assert f"{column} " in table
