"""Who is asking: the API's access tokens (JWT by JWKS), and the rows that they open (I9)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from millrace_contracts.identity import Role, TokenSettings
from millrace_processors.query.errors import ForbiddenError, UnauthenticatedError
from millrace_runtime.access_tokens import Door, RefusedToken, bearer

ROLES: tuple[Role, ...] = ("merchant", "operator", "service")


@dataclass(frozen=True)
class Caller:
    """Who asks. ``merchants`` are the only ones that a merchant sees; operators (analysts) and services see all."""

    subject: str
    role: Role
    merchants: frozenset[str]

    @property
    def sees_all(self) -> bool:
        """Whether every merchant's rows, and all columns, are open to the caller."""
        return self.role != "merchant"

    @cached_property
    def tenant(self) -> str:
        """Whose turn a query takes: that of the merchants seen, or of an operator or service by itself."""
        return _digest([self.role, self.subject] if self.sees_all else sorted(self.merchants))

    @cached_property
    def owner(self) -> str:
        """Whose jobs a caller finds again: their own, and only while they see the same rows (I9)."""
        return _digest([self.role, self.subject, *sorted(self.merchants)])

    def rows(self, asked: list[str] | None) -> tuple[str, ...] | None:
        """The merchants of a query that asks for some, or for all of the caller's (None); None where that is every merchant.

        Raises:
            ForbiddenError: one of them is not the caller's; the same answer whether it exists or not.
        """
        if self.sees_all:
            return None if asked is None else tuple(sorted(set(asked)))
        for merchant in asked or ():
            if merchant not in self.merchants:
                raise ForbiddenError(f"merchants: your token does not open merchant {merchant!r:.60}", merchant=merchant[:60])
        found = tuple(sorted(self.merchants if asked is None else set(asked)))
        if not found:
            raise ForbiddenError("your token opens no merchant")
        return found


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]


class Gate:
    """Turns an Authorization header into a caller."""

    def __init__(self, settings: TokenSettings, door: Door | None = None) -> None:
        self._door = door or Door(settings)

    def identify(self, header: str) -> Caller:
        """The caller behind a header.

        Raises:
            UnauthenticatedError: there is none, or it does not hold; the message says why.
        """
        token = bearer(header)
        if token is None:
            raise UnauthenticatedError("send your access token in the header 'Authorization: Bearer <token>'")
        try:
            claims = self._door.claims(token)
        except RefusedToken as error:
            raise UnauthenticatedError(str(error)) from None
        return _caller(claims)


def _caller(claims: dict[str, Any]) -> Caller:
    role, merchants = claims.get("role"), claims.get("merchants", [])
    if role not in ROLES:
        raise UnauthenticatedError(f"token: the role {role!r:.20} is not one of {', '.join(ROLES)}")
    if not isinstance(merchants, list) or not all(isinstance(merchant, str) for merchant in merchants):
        raise UnauthenticatedError("token: the claim merchants is not a list of merchant ids")
    return Caller(str(claims["sub"]), role, frozenset(merchants))
