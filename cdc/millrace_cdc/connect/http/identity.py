"""Only operators come in: access tokens verified by JWKS, with the claims of ``millrace_contracts.identity``."""

from __future__ import annotations

from millrace_cdc.connect.http.problems import Problem
from millrace_cdc.connect.settings import OperatorSettings
from millrace_contracts.identity import Role
from millrace_runtime.access_tokens import KeySet, RefusedToken, bearer, verified

OPERATOR: Role = "operator"


class Gate:
    """Lets operators pass."""

    def __init__(self, settings: OperatorSettings, keys: KeySet | None = None) -> None:
        self._settings = settings
        self._keys = keys or KeySet(settings.jwks)

    def require_operator(self, header: str) -> str:
        """The subject of an operator's token.

        Raises:
            Problem: 401 without a token that holds, 403 for another role.
        """
        token = bearer(header)
        if token is None:
            raise Problem(401, "Authorization: write it as 'Bearer <access token>'")
        known = self._settings
        try:
            claims = verified(token, self._keys, audience=known.audience, issuer=known.issuer, leeway_seconds=known.leeway_seconds)
        except RefusedToken as error:
            raise Problem(401, str(error)) from None
        if claims.get("role") != OPERATOR:
            raise Problem(403, f"your token has the role {claims.get('role')!r:.20}; this endpoint wants {OPERATOR!r}")
        return str(claims["sub"])
