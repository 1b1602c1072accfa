"""Only operators come in: access tokens verified by JWKS, with the claims of ``millrace_contracts.identity``."""

from __future__ import annotations

from millrace_cdc.connect.http.problems import Problem
from millrace_contracts.identity import Role, TokenSettings
from millrace_runtime.access_tokens import Door, RefusedToken, bearer

OPERATOR: Role = "operator"


class Gate:
    """Lets operators pass."""

    def __init__(self, settings: TokenSettings, door: Door | None = None) -> None:
        self._door = door or Door(settings)

    def require_operator(self, header: str) -> str:
        """The subject of an operator's token.

        Raises:
            Problem: 401 without a token that holds, 403 for another role.
        """
        token = bearer(header)
        if token is None:
            raise Problem(401, "Authorization: write it as 'Bearer <access token>'")
        try:
            claims = self._door.claims(token)
        except RefusedToken as error:
            raise Problem(401, str(error)) from None
        if claims.get("role") != OPERATOR:
            raise Problem(403, f"your token has the role {claims.get('role')!r:.20}; this endpoint wants {OPERATOR!r}")
        return str(claims["sub"])
