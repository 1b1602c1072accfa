"""Who may see what, on the process as it is run, with warm caches: no answer to a token that does not hold, over any transport (I9)."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_graphql.token_cli import local_key
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.integration.graphql_api.test_subscriptions import QUERY as CHANGES
from tests.integration.graphql_api.test_subscriptions import connected, subscribe
from tests.support.examples import examples

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack

WINDOWS = [datetime(2026, 11, 9, 8, minute, tzinfo=UTC) for minute in (0, 10)]
AMOUNTS = {"own": 1_111_110, "foreign": 2_222_220}
"""Of the first window, one more in the second: an amount tells whose it is wherever it is seen."""
QUERY = 'query Report($m: ID!, $s: DateTime!) { report(merchantId: $m, start: $s, currency: "USD") { gross } }'
HASH = hashlib.sha256(QUERY.encode()).hexdigest()
WAYS = ("get", "post", "batch", "persisted", "events", "rest", "export")
"""In which a question is asked."""
PERSISTED = {"persistedQuery": {"version": 1, "sha256Hash": HASH}}


class Keys:
    """Makes tokens of every kind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = local_key(folder)

    def claims(self, *merchants: str, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": "millrace-local", "aud": "millrace", "sub": "t", "iat": now - 600, "exp": now + 600, "role": "merchant"}
        return {**claims, "merchants": list(merchants), **changes}

    def signed(self, *merchants: str, **changes: Any) -> str:
        pem = self._key.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return jwt.encode(self.claims(*merchants, **changes), pem, algorithm="ES256", headers={"kid": self._key.key_id})

    def forged(self, kind: str) -> str:
        """A token for ``own`` that must open nothing."""
        now = int(time.time())
        kid = {"kid": str(self._key.key_id)}
        if kind == "unsigned":
            return jwt.encode(self.claims("own"), None, algorithm="none", headers=kid)
        if kind == "of another key":
            return jwt.encode(self.claims("own"), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers=kid)
        if kind == "of another algorithm":
            public = json.loads((self._folder / "jwks.json").read_text())["keys"][0]
            return jwt.encode(self.claims("own"), hashlib.sha256(public["x"].encode()).hexdigest(), algorithm="HS256", headers=kid)
        if kind == "with other claims":
            head, _, signature = self.signed("foreign").split(".")
            claims = base64.urlsafe_b64encode(json.dumps(self.claims("own")).encode()).decode().rstrip("=")
            return f"{head}.{claims}.{signature}"
        changes: dict[str, dict[str, Any]] = {
            "expired": {"exp": now - 60},
            "of another audience": {"aud": "elsewhere"},
            "of another issuer": {"iss": "elsewhere"},
            "not valid yet": {"nbf": now + 600},
            "of no role": {"role": "owner"},
        }
        return self.signed("own", **changes[kind])


class Server:
    """The process, asked with any token in any way."""

    def __init__(self, url: str, keys: Keys) -> None:
        self.url, self.keys = url, keys
        self.client = httpx.Client(base_url=url, timeout=30)
        self.hits = 0

    def ask(self, way: str, token: str | None, merchant: str = "own", window: int = 0, etags: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if etags:
            headers["If-None-Match"] = etags
        start = f"{WINDOWS[window]:%Y-%m-%dT%H:%M:%SZ}"
        body: dict[str, Any] = {"query": QUERY, "variables": {"m": merchant, "s": start}}
        answer: httpx.Response = getattr(self, f"_{way}")(headers, body, merchant, start)
        self.hits += answer.headers.get("x-millrace-cache") == "hit"
        return answer

    def _get(self, headers: dict[str, str], body: dict[str, Any], *_: str) -> httpx.Response:
        return self.client.get("/graphql", headers=headers, params={"query": QUERY, "variables": json.dumps(body["variables"])})

    def _post(self, headers: dict[str, str], body: dict[str, Any], *_: str) -> httpx.Response:
        return self.client.post("/graphql", headers=headers, json=body)

    def _batch(self, headers: dict[str, str], body: dict[str, Any], *_: str) -> httpx.Response:
        return self.client.post("/graphql", headers=headers, json=[body, body])

    def _persisted(self, headers: dict[str, str], body: dict[str, Any], *_: str) -> httpx.Response:
        given = {"extensions": json.dumps(PERSISTED), "variables": json.dumps(body["variables"])}
        return self.client.get("/graphql", headers=headers, params=given)

    def _events(self, headers: dict[str, str], body: dict[str, Any], *_: str) -> httpx.Response:
        return self.client.post("/graphql", headers={**headers, "Accept": "text/event-stream"}, json=body)

    def _rest(self, headers: dict[str, str], _: dict[str, Any], merchant: str, start: str) -> httpx.Response:
        return self.client.get(f"/v1/merchants/{merchant}/report", headers=headers, params={"start": start, "currency": "USD"})

    def _export(self, headers: dict[str, str], _: dict[str, Any], merchant: str, start: str) -> httpx.Response:
        end = f"{datetime.fromisoformat(start).replace(minute=50):%Y-%m-%dT%H:%M:%SZ}"
        given = {"start": start, "end": end, "currency": "USD", "grain": "TEN_MINUTES"}
        return self.client.get(f"/v1/merchants/{merchant}/export.csv", headers=headers, params=given)


@pytest.fixture(scope="module")
def server(environ: dict[str, str], store: Store) -> Iterator[Server]:
    for merchant, amount in AMOUNTS.items():
        store.merchant(merchant, "USD", zone="UTC")
        for number, start in enumerate(WINDOWS):
            store.report(merchant, start, "USD", Written([Paid(amount + number)]))
    store.progress(datetime(2026, 11, 10, tzinfo=UTC))
    with serving(environ) as (url, _):
        wait_for(f"{url}/ready", 200)
        found = Server(url, Keys(Path(environ["MILLRACE_HOME"]) / "keys"))
        with found.client:
            headers = {"Authorization": f"Bearer {found.keys.signed('own')}"}
            body = {"query": QUERY, "variables": {"m": "own", "s": WINDOWS[0].isoformat()}, "extensions": PERSISTED}
            assert found.client.post("/graphql", json=body, headers=headers).status_code == 200
            warm(found)
            yield found


def warm(server: Server) -> None:
    """Ask for everything until the caches answer."""
    for merchant in AMOUNTS:
        token = server.keys.signed(merchant)
        deadline = time.monotonic() + 90
        while server.ask("get", token, merchant).headers.get("x-millrace-cache") != "hit":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for way in WAYS:
            for _ in range(2):
                assert str(AMOUNTS[merchant]) in server.ask(way, token, merchant).text, way


BAD = [
    "expired", "unsigned", "of another audience", "of another issuer", "of another key", "of another algorithm", "with other claims",
    "not valid yet", "of no role",
]  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_token_that_does_not_hold_opens_nothing_however_warm_the_caches_are(server: Server, kind: str) -> None:
    etag = server.ask("get", server.keys.signed("own")).headers["etag"]
    bad = server.keys.forged(kind)
    for way in WAYS:
        answer = server.ask(way, bad, etags=f'{etag}, "*"')
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="millrace"'), way
        assert str(AMOUNTS["own"]) not in answer.text
        assert "UNAUTHENTICATED" in answer.text

    async def over_a_socket() -> None:
        async with connected(server.url) as socket:
            await socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {bad}"}})
            assert await socket.next() == 4401
        async with connected(server.url, more=f"Authorization: Bearer {bad}\r\n") as socket:
            await socket.send({"type": "connection_init"})
            assert await socket.next() == 4401

    asyncio.run(over_a_socket())


def test_another_merchants_token_opens_nothing_and_is_told_the_same_of_one_that_does_not_exist(server: Server) -> None:
    token = server.keys.signed("own")
    for way in WAYS:
        for merchant in ("foreign", "nobody"):
            answer = server.ask(way, token, merchant, etags="*")
            assert answer.status_code in (200, 403), way
            assert "FORBIDDEN" in answer.text
            assert f"does not open merchant '{merchant}'" in answer.text
            assert str(AMOUNTS["foreign"]) not in answer.text

    async def over_a_socket() -> None:
        async with connected(server.url) as socket:
            await socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
            assert await socket.next() == {"type": "connection_ack"}
            await socket.send(subscribe("foreign"))
            refused = await socket.next()
            assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "FORBIDDEN")

    asyncio.run(over_a_socket())
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    pushed = server.client.post("/graphql", json={"query": CHANGES, "variables": {"m": "foreign"}}, headers=headers)
    assert "FORBIDDEN" in pushed.text


def test_clocks_may_differ_by_the_leeway_and_no_more(server: Server) -> None:
    now = int(time.time())
    assert server.ask("post", server.keys.signed("own", exp=now - 10)).status_code == 200
    assert server.ask("post", server.keys.signed("own", nbf=now + 10, iat=now + 10)).status_code == 200
    assert server.ask("post", server.keys.signed("own", exp=now - 31)).status_code == 401
    assert server.ask("post", server.keys.signed("own", nbf=now + 60)).status_code == 401


CALLERS: dict[str, set[str]] = {
    "own": {"own"}, "foreign": {"foreign"}, "both": {"own", "foreign"}, "operator": {"own", "foreign"}, "nobody": set(), "none": set(),
}  # fmt: skip
"""A caller and the merchants that it may see."""


def test_tenants_at_random_never_find_each_others_rows_in_any_cache(server: Server) -> None:
    # Tokens are made once, so that they are known, and asked with every entity tag that was ever seen.
    tokens: dict[str, str | None] = {name: server.keys.signed(*sorted(sees)) for name, sees in CALLERS.items()}
    tokens |= {"none": None, "operator": server.keys.signed(role="operator", merchants=[])}
    seen: set[str] = set()
    steps = st.tuples(st.sampled_from(list(CALLERS)), st.sampled_from(list(AMOUNTS)), st.integers(0, 1), st.sampled_from(WAYS))

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, min_size=1, max_size=10), st.booleans())
    def check(walk: list[tuple[str, str, int, str]], with_etags: bool) -> None:
        for caller, merchant, window, way in walk:
            answer = server.ask(way, tokens[caller], merchant, window, ", ".join(sorted(seen)[:40]) if with_etags else "")
            if "etag" in answer.headers:
                seen.add(answer.headers["etag"])
            shown = {name for name, amount in AMOUNTS.items() for n in range(2) if str(amount + n) in answer.text}
            if merchant not in CALLERS[caller]:
                assert (shown, answer.status_code == 304) == (set(), False)
                assert ("UNAUTHENTICATED" if tokens[caller] is None else "FORBIDDEN") in answer.text
            elif answer.status_code != 304:
                assert (answer.status_code, shown) == (200, {merchant})
                assert str(AMOUNTS[merchant] + window) in answer.text

    before = server.hits
    check()
    assert server.hits > before + 20, "the caches were asked"
    assert seen
