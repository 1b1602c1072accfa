"""The requests of bench/api.py: two questions about each of many merchants, each asked with the merchant's own token."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from api_load import Request
from api_store import DAY, merchant_name
from millrace_contracts.identity import AUDIENCE, LOCAL_ISSUER
from millrace_graphql.token_cli import local_key

QUERIES = (
    """query Day($m: ID!, $s: DateTime!, $e: DateTime!) {
  series(merchantId: $m, start: $s, end: $e, currency: "USD") {
    currency points { start payments gross refunds refundedAmount net } freshness { completeThrough }
  }
}""",
    """query Losses($m: ID!, $s: DateTime!, $e: DateTime!) {
  series(merchantId: $m, start: $s, end: $e, currency: "USD") {
    currency points { start payments gross failed smallest largest } freshness { completeThrough }
  }
}""",
)
HASHES = [hashlib.sha256(query.encode()).hexdigest() for query in QUERIES]


class Asker:
    """Makes requests with the local signing key."""

    def __init__(self, keys: Path) -> None:
        self._key = local_key(keys)
        assert isinstance(self._key.key, EllipticCurvePrivateKey)
        self.token = cache(self._token)

    def _token(self, merchant: str) -> str:
        now = int(time.time())
        claims = {"iss": LOCAL_ISSUER, "aud": AUDIENCE, "sub": merchant, "iat": now, "exp": now + 86_400, "role": "merchant"}
        return jwt.encode({**claims, "merchants": [merchant]}, self._key.key, algorithm="ES256", headers={"kid": self._key.key_id})

    def headers(self, merchant: str) -> dict[str, str]:
        """Of every request; every browser takes gzip."""
        return {"Authorization": f"Bearer {self.token(merchant)}", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}

    def post(self, number: int, which: int = 0) -> Request:
        """A question by POST."""
        merchant = merchant_name(number)
        body = json.dumps({"query": QUERIES[which], "variables": variables(merchant)})
        return Request("POST", "/graphql", {**self.headers(merchant), "Content-Type": "application/json"}, body)

    def get(self, number: int, which: int = 0, etag: str = "") -> Request:
        """The same by GET with the document's hash, conditional where an ETag is given."""
        merchant = merchant_name(number)
        extensions = json.dumps({"persistedQuery": {"version": 1, "sha256Hash": HASHES[which]}}, separators=(",", ":"))
        given = quote(json.dumps(variables(merchant), separators=(",", ":")))
        more = {"If-None-Match": etag} if etag else {}
        return Request("GET", f"/graphql?extensions={quote(extensions)}&variables={given}", {**self.headers(merchant), **more})

    def posts(self, numbers: Sequence[int]) -> list[Request]:
        """Both questions in turn."""
        return [self.post(number, index % 2) for index, number in enumerate(numbers)]

    def gets(self, numbers: Sequence[int]) -> list[Request]:
        """Both questions in turn."""
        return [self.get(number, index % 2) for index, number in enumerate(numbers)]


def variables(merchant: str) -> dict[str, str]:
    """The whole day."""
    return {"m": merchant, "s": f"{DAY:%Y-%m-%dT%H:%M:%SZ}", "e": f"{DAY + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"}
