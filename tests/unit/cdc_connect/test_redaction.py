"""No secret in any text."""

from __future__ import annotations

import pytest

from millrace_cdc.connect.redaction import Redactor, holds_secret


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("can not reach mongodb://u:p%40ss@h:1/?x=1", "can not reach mongodb://***@h:1/?x=1"),
        ("mongodb+srv://u:pw@h", "mongodb+srv://***@h"),
        ("http://h:8083/connectors", "http://h:8083/connectors"),
        ("Exception: password is swordfish!", "Exception: password is ***!"),
    ],
)
def test_logins_in_uris_and_known_secrets_are_hidden(text: str, shown: str) -> None:
    assert Redactor({"REDIS_PASSWORD": "swordfish", "MILLRACE_HOME": "/home"}).text(text) == shown


def test_the_password_of_every_uri_in_the_environment_is_known() -> None:
    hide = Redactor({"MILLRACE_MONGO_DEBEZIUM_URI": "mongodb://debezium:abcdefgh@h/", "MILLRACE_REDIS_URL": "redis://:hgfedcba@h/0"})
    assert hide.text("abcdefgh and hgfedcba") == "*** and ***"


def test_a_secret_inside_a_longer_one_leaves_nothing_visible() -> None:
    assert Redactor({"A_SECRET": "abcdef", "B_SECRET": "abcdefghij"}).text("abcdefghij") == "***"


def test_sensitive_keys_show_references_only() -> None:
    hide = Redactor({})
    assert hide.config({"mongodb.password": "x", "sasl.jaas.config": "y", "a.secret": "${env:S}", "poll": "5"}) == {
        "mongodb.password": "***",
        "sasl.jaas.config": "***",
        "a.secret": "${env:S}",
        "poll": "5",
    }


def test_a_connection_string_without_a_password_is_no_secret() -> None:
    assert not holds_secret("mongodb.connection.string", "mongodb://host/?replicaSet=rs0")
    assert holds_secret("mongodb.connection.string", "mongodb://user:password@host/")
    assert holds_secret("anything", "see redis://:password@host")
