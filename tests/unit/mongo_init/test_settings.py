"""The users that the URIs name."""

import pytest

from millrace_contracts.settings import SettingsError
from millrace_mongo_init.settings import MongoSettings, logins


def environ(**changed: str) -> dict[str, str]:
    uris = {role: f"mongodb://{role}:secret-{role}@h/?authSource=admin" for role in ("admin", "collection", "relay", "debezium", "truth")}
    return {f"MILLRACE_MONGO_{role.upper()}_URI": uri for role, uri in {**uris, **changed}.items()}


def test_each_role_has_the_user_and_the_database_of_its_uri() -> None:
    found = logins(MongoSettings.load(environ(relay="mongodb://r:p%40ss@h/?authSource=users")))
    relay = next(login for login in found if login.role == "relay")
    assert (relay.user, relay.password, relay.database) == ("r", "p@ss", "users")
    assert [login.role for login in found] == ["collection", "relay", "debezium", "truth"]


def test_no_text_of_a_login_shows_its_password() -> None:
    found = logins(MongoSettings.load(environ()))
    assert "secret" not in repr(found)


def test_two_roles_can_not_share_a_user() -> None:
    with pytest.raises(SettingsError, match=r"MILLRACE_MONGO_TRUTH_URI.*'relay' of MILLRACE_MONGO_RELAY_URI"):
        logins(MongoSettings.load(environ(truth="mongodb://relay:x@h/")))


@pytest.mark.parametrize("uri", ["http://h", "mongodb://h/", "mongodb://user@h/"])
def test_a_uri_without_user_and_password_names_its_variable(uri: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_MONGO_DEBEZIUM_URI"):
        logins(MongoSettings.load(environ(debezium=uri)))


def test_a_missing_uri_names_its_variable() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_MONGO_RELAY_URI: is not set"):
        MongoSettings.load(environ(relay=""))
