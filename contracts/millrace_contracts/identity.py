"""Who a caller is: the claims of the access token, and the scopes of an API key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NotRequired, Self, TypedDict

from pydantic import Field

from millrace_contracts.settings import Settings, refuse_default_secret, refuse_plain_keys

AUDIENCE: Final = "millrace"
LOCAL_ISSUER: Final = "millrace-local"
ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
"""The allow-list of token signatures; symmetric ones and ``none`` are never taken."""

Role = Literal["merchant", "operator", "service"]


class Claims(TypedDict):
    """Claims of an access token (JWT)."""

    iss: str
    aud: str
    sub: str
    exp: int
    iat: int
    role: Role
    jti: NotRequired[str]
    """The token's own id, by which it can be withdrawn."""
    merchants: NotRequired[list[str]]
    """The merchants whose rows the caller may see (role merchant)."""


class TokenSettings(Settings, group="API"):
    """How access tokens are verified: the same variables for every service, so that one token opens all."""

    jwks: str = ""
    """Path or URL of the JWKS; the local default is <home>/keys/jwks.json."""
    issuer: str = LOCAL_ISSUER
    audience: str = AUDIENCE
    leeway_seconds: int = 30
    token_longest_seconds: Annotated[int, Field(ge=1)] = 2_678_400
    """Longest life of a token, from iat to exp; one that was made for longer is refused."""
    withdrawn: str = ""
    """Path or URL of the list of withdrawn tokens, {"subjects": {subject: epoch seconds}, "tokens": [jti]}: of a subject, those that were
    issued up to then. The local default is <home>/keys/withdrawn.json; a path without a file withdraws nothing."""
    withdrawn_seconds: Annotated[float, Field(gt=0, le=60)] = 20.0
    """How often that list is read again."""

    @classmethod
    def checked(cls, environ: Mapping[str, str]) -> Self:
        """Load, with the local default of the JWKS, and refuse the local issuer outside local use.

        Raises:
            SettingsError: names the variable and the fix.
        """
        settings = cls.load(environ)
        refuse_default_secret(environ, cls.variable("issuer"), settings.issuer, LOCAL_ISSUER)
        for name in ("jwks", "withdrawn"):
            refuse_plain_keys(environ, cls.variable(name), getattr(settings, name))
        if settings.jwks:
            return settings
        keys = Path(environ.get("MILLRACE_HOME", ".millrace")) / "keys"
        return settings.model_copy(
            update={"jwks": str(keys / "jwks.json"), "withdrawn": settings.withdrawn or str(keys / "withdrawn.json")}
        )


SCOPE_PAYMENTS_WRITE: Final = "payments:write"
SCOPE_MERCHANTS_WRITE: Final = "merchants:write"
SCOPE_USERS_WRITE: Final = "users:write"
SCOPE_PAYMENTS_READ: Final = "payments:read"
SCOPE_MERCHANTS_READ: Final = "merchants:read"
SCOPE_USERS_READ: Final = "users:read"
SCOPES: Final = (
    SCOPE_PAYMENTS_WRITE,
    SCOPE_MERCHANTS_WRITE,
    SCOPE_USERS_WRITE,
    SCOPE_PAYMENTS_READ,
    SCOPE_MERCHANTS_READ,
    SCOPE_USERS_READ,
)
