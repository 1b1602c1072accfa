"""Who a caller is: the claims of the access token, and the scopes of an API key."""

from __future__ import annotations

from typing import Final, Literal, NotRequired, TypedDict

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
    merchants: NotRequired[list[str]]
    """The merchants whose rows the caller may see (role merchant)."""


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
