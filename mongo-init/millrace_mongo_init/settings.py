"""Settings: how to reach MongoDB as its administrator, and the user of each tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.uri_parser import parse_uri

from millrace_contracts.settings import Settings, SettingsError

ROLES = ("collection", "relay", "debezium", "truth")


class MongoSettings(Settings, group="MONGO"):
    """One URI for the administrator and one for each role, each with its own user and password."""

    admin_uri: str
    collection_uri: str
    relay_uri: str
    debezium_uri: str
    truth_uri: str


@dataclass(frozen=True)
class Login:
    """The user of one role as its URI names it; the password is kept out of every text."""

    role: str
    user: str
    database: str
    """Where the user is defined (authSource)."""
    password: str = field(repr=False)
    uri: str = field(repr=False)


def logins(settings: MongoSettings) -> list[Login]:
    """The users to declare.

    Raises:
        SettingsError: a URI has no user or password, or shares its user with another role.
    """
    found: list[Login] = []
    taken = {_credentials("admin", settings.admin_uri)[0]: "MILLRACE_MONGO_ADMIN_URI"}
    for role in ROLES:
        variable = MongoSettings.variable(f"{role}_uri")
        uri = getattr(settings, f"{role}_uri")
        user, password, database = _credentials(role, uri)
        if user in taken:
            raise SettingsError(variable, f"names the user {user!r} of {taken[user]}; give each role a user of its own")
        taken[user] = variable
        found.append(Login(role, user, database, password, uri))
    return found


def _credentials(role: str, uri: str) -> tuple[str, str, str]:
    variable = MongoSettings.variable(f"{role}_uri")
    try:
        parsed: Mapping[str, object] = parse_uri(uri, warn=False)
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise SettingsError(variable, f"is not a MongoDB URI ({error})") from None
    if not parsed["username"] or not parsed["password"]:
        raise SettingsError(variable, "names no user and password; write mongodb://user:password@host/?authSource=admin")
    options = parsed["options"]
    named = options.get("authSource") if isinstance(options, Mapping) else None
    return str(parsed["username"]), str(parsed["password"]), str(named or parsed["database"] or "admin")
