"""Only operators come in: access tokens verified by JWKS, with the claims of ``millrace_contracts.identity``."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import jwt
import orjson

from millrace_cdc.connect.http.problems import Problem
from millrace_cdc.connect.settings import OperatorSettings
from millrace_contracts.identity import ALGORITHMS, Role

OPERATOR: Role = "operator"
REFRESH_SECONDS = 10.0
"""The JWKS is read again at most this often, however many unknown keys are shown."""
KEEP_SECONDS = 300.0
"""A key is looked up again after this time, so that a withdrawn one does not open for long."""


class KeySet:
    """The public keys behind a path or URL, read again for a key that is not known yet (rotation). For several threads."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of an id, or None."""
        with self._lock:
            age = self._clock() - self._read_at
            if age >= KEEP_SECONDS or (kid not in self._keys and age >= REFRESH_SECONDS):
                self._refresh()
            return self._keys.get(kid)

    def _refresh(self) -> None:
        try:
            entries = orjson.loads(self._load())["keys"]
            self._keys = {key.key_id: key for key in map(jwt.PyJWK.from_dict, entries) if key.key_id}
            self._read_at = self._clock()
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError):
            self._read_at = self._clock() - REFRESH_SECONDS + 1  # an absent file may be there a second later

    def _load(self) -> bytes:
        if self._source.startswith(("https://", "http://")):
            with urllib.request.urlopen(self._source, timeout=5) as answer:  # noqa: S310 - the scheme is checked above
                return bytes(answer.read(1_000_000))
        return Path(self._source).read_bytes()


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
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem(401, "Authorization: write it as 'Bearer <access token>'")
        claims = self._claims(token.strip())
        if claims.get("role") != OPERATOR:
            raise Problem(403, f"your token has the role {claims.get('role')!r:.20}; this endpoint wants {OPERATOR!r}")
        return str(claims["sub"])

    def _claims(self, token: str) -> dict[str, object]:
        try:
            head = jwt.get_unverified_header(token)
            # The allow-list comes before any key is looked up: `none` and symmetric algorithms end here.
            if head.get("alg") not in ALGORITHMS:
                raise Problem(401, f"token: the signature algorithm {head.get('alg')!r:.20} is not one of {', '.join(ALGORITHMS)}")
            key = self._keys.find(str(head.get("kid", "")))
            # One key, one algorithm: a key is never used for another than its own.
            if key is None or key.algorithm_name != head["alg"]:
                raise Problem(401, f"token: no published key for {head['alg']} has the id {head.get('kid')!r:.60}")
            claims: dict[str, object] = jwt.decode(
                token,
                key,
                algorithms=[head["alg"]],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway_seconds,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            raise Problem(401, f"token: {error}; ask for a new one") from None
        return claims
