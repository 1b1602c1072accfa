"""One behaviour of keys and tokens for every service: which are believed, for how long, and what ends them."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from millrace_cdc.connect.http.identity import Gate as OperatorsGate
from millrace_cdc.connect.http.problems import Problem
from millrace_contracts.identity import TokenSettings
from millrace_graphql.errors import UnauthenticatedError as ApiRefusal
from millrace_graphql.identity import Authenticator
from millrace_graphql.token_cli import local_key
from millrace_processors.query.errors import UnauthenticatedError as QueryRefusal
from millrace_processors.query.identity import Gate as QueryGate
from millrace_runtime.access_tokens import Door, RefusedToken, withdrawn_of

pytestmark = pytest.mark.anyio
NOW = 1_790_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def signed(folder: Path, **changes: Any) -> str:
    """An operator's token of the local key with some claims changed; None removes one."""
    key = local_key(folder)
    claims = {"iss": "millrace-local", "aud": "millrace", "sub": "alice", "iat": NOW, "exp": NOW + 60, "jti": "t1", "role": "operator"}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    pem = key.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # Not by jwt.encode, which refuses to write some of what is tried here.
    content = json.dumps(claims).encode()
    return jwt.api_jws.encode(content, pem, algorithm="ES256", headers={"kid": key.key_id})


class Clocks:
    """Monotonic seconds and the time of day, moved together."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 100.0 + self.passed

    def wall(self) -> float:
        return NOW + self.passed


def door_of(folder: Path, clocks: Clocks | None = None, **settings: Any) -> Door:
    clocks = clocks or Clocks()
    given = {"jwks": str(folder / "jwks.json"), "withdrawn": str(folder / "withdrawn.json"), **settings}
    return Door(TokenSettings(**given), clocks.monotonic, clocks.wall)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": NOW + 31 * 365 * 86_400}, "holds for 977616000 s, and 2678400 s is allowed"),
        ({"exp": 10**15}, "not a number of seconds"),
        ({"exp": 10**400}, "not a number of seconds"),
        ({"exp": math.inf}, "not a number of seconds"),
        ({"exp": math.nan}, "not a number of seconds"),
        ({"exp": str(NOW + 60)}, "not a number of seconds"),
        ({"exp": True}, "not a number of seconds"),
        ({"exp": [NOW + 60]}, "not a number of seconds"),
        ({"exp": NOW - 31}, "expired"),
        ({"iat": str(NOW)}, "not a number of seconds"),
        ({"iat": 0}, "s is allowed"),
        ({"iat": NOW + 31, "exp": NOW + 60}, "lies in the future"),
        ({"sub": ""}, "the claim sub is not a text of 1 to 255"),
        ({"sub": "x" * 256}, "the claim sub is not a text of 1 to 255"),
        ({"sub": 5}, "[Ss]ubject"),
        ({"jti": ""}, "the claim jti is not a text of 1 to 255"),
        ({"exp": None}, "exp"),
        ({"iat": None}, "iat"),
        ({"sub": None}, "sub"),
    ],
)
def test_a_token_without_a_sound_end_or_subject_opens_no_service(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    token = signed(tmp_path, **changes)
    with pytest.raises(RefusedToken, match=words):
        door_of(tmp_path).claims(token)


@given(st.integers(-(10**6), 10**7), st.integers(-(10**6), 10**7), st.integers(60, 10**6))
def test_a_token_holds_exactly_from_its_making_to_its_end_and_no_longer_than_is_allowed(issued: int, ends: int, longest: int) -> None:
    folder = Path(PLACE)
    door = door_of(folder, token_longest_seconds=longest, leeway_seconds=0)
    try:
        door.claims(signed(folder, iat=NOW + issued, exp=NOW + ends))
        opened = True
    except RefusedToken:
        opened = False
    assert opened == (issued <= 0 < ends and ends - issued <= longest)


PLACE = ""


@pytest.fixture(autouse=True, scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> None:
    global PLACE
    PLACE = str(tmp_path_factory.mktemp("keys"))


def services(door: Door) -> Any:
    """The three services' ways in, of one door: whether a token opens each."""

    async def ask(token: str) -> list[bool]:
        header, found = f"Bearer {token}", []
        try:
            found.append(await Authenticator(door).identify(header) is not None)
        except ApiRefusal:
            found.append(False)
        for gate, refusal in (
            (QueryGate(TokenSettings(), door).identify, QueryRefusal),
            (OperatorsGate(TokenSettings(), door).require_operator, Problem),
        ):
            try:
                found.append(bool(gate(header)))
            except refusal:
                found.append(False)
        return found

    return ask


async def test_keys_that_are_not_taken_are_passed_over_by_every_service(tmp_path: Path) -> None:
    local_key(tmp_path)
    good = json.loads((tmp_path / "jwks.json").read_text())["keys"][0]
    rsa_key = RSAAlgorithm.to_jwk(rsa.generate_private_key(65_537, 2_048).public_key(), as_dict=True)
    others = [
        {**rsa_key, "kid": "r1", "use": "enc", "alg": "RSA-OAEP"},
        {**rsa_key, "kid": "r2", "alg": "RSA-OAEP"},
        {**good, "kid": "encryption", "use": "enc"},
        {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "EC", "kid": "broken", "crv": "P-256"},
        {"kty": "new", "kid": "unknown"},
        {"kid": "nothing"},
        "text",
    ]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [*others, good]}))
    door = door_of(tmp_path)
    assert await services(door)(signed(tmp_path)) == [True] * 3
    for entry in others:
        kid = entry["kid"] if isinstance(entry, dict) else "text"
        assert kid not in (door._keys.content or {})


async def test_an_unread_key_set_is_believed_for_an_hour_by_every_service(tmp_path: Path) -> None:
    clocks = Clocks()
    door = door_of(tmp_path, clocks, token_longest_seconds=10**7)
    token = signed(tmp_path, exp=NOW + 10**6)
    assert await services(door)(token) == [True] * 3
    (tmp_path / "jwks.json").rename(tmp_path / "away")
    clocks.passed = 3_500
    assert await services(door)(token) == [True] * 3
    clocks.passed = 400_000
    assert await services(door)(token) == [False] * 3
    (tmp_path / "away").rename(tmp_path / "jwks.json")
    clocks.passed += 11
    assert await services(door)(token) == [True] * 3


@pytest.mark.parametrize("list_", [{"tokens": ["t1"]}, {"subjects": {"alice": NOW}}, {"subjects": {"alice": NOW + 10}, "tokens": []}])
async def test_a_withdrawn_token_or_subject_opens_no_service_within_a_minute(tmp_path: Path, list_: dict[str, Any]) -> None:
    clocks = Clocks()
    door = door_of(tmp_path, clocks)
    token, later = signed(tmp_path), signed(tmp_path, iat=NOW + 11, jti="t2")
    assert await services(door)(token) == [True] * 3
    (tmp_path / "withdrawn.json").write_text(json.dumps(list_))
    clocks.passed = 20
    assert await services(door)(token) == [False] * 3
    assert await services(door)(later) == [True] * 3, "what was issued after it is another token"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"subjects": []}', '{"subjects": {"a": "soon"}}', '{"subjects": {"a": NaN}}', '{"tokens": "t1"}']
)
async def test_a_list_that_is_none_changes_nothing_for_an_hour_and_then_nobody_is_believed(tmp_path: Path, text: str) -> None:
    clocks = Clocks()
    door = door_of(tmp_path, clocks, token_longest_seconds=10**7)
    token = signed(tmp_path, exp=NOW + 10**6)
    (tmp_path / "withdrawn.json").write_text('{"tokens": ["other"]}')
    assert await services(door)(token) == [True] * 3
    (tmp_path / "withdrawn.json").write_text(text)
    clocks.passed = 3_000
    assert await services(door)(token) == [True] * 3
    clocks.passed = 3_700
    assert await services(door)(token) == [False] * 3


def test_a_list_names_subjects_and_tokens() -> None:
    found = withdrawn_of({"subjects": {"a": 5}, "tokens": ["x"]})
    assert (found.subjects, found.tokens) == ({"a": 5.0}, {"x"})


class Published(BaseHTTPRequestHandler):
    """An identity provider's JWKS; ``server.answer`` is its status and content."""

    def do_GET(self) -> None:
        status, content = self.server.answer  # type: ignore[attr-defined]
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Published)
    server.answer, server.asked = (200, b'{"keys": []}'), 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_keys_of_a_url_are_rotated_without_refusing_either_meanwhile(tmp_path: Path, provider: Any) -> None:
    clocks = Clocks()
    door = door_of(tmp_path, clocks, jwks=f"http://127.0.0.1:{provider.server_port}/jwks", token_longest_seconds=10**5)
    ask = services(door)
    old, new = (signed(tmp_path / name, exp=NOW + 10**4) for name in ("old", "new"))
    public = {name: json.loads((tmp_path / name / "jwks.json").read_text())["keys"] for name in ("old", "new")}

    provider.answer = 200, json.dumps({"keys": public["old"]}).encode()
    assert (await ask(old), await ask(new)) == ([True] * 3, [False] * 3)
    assert provider.asked == 1, "however many unknown keys are shown"
    provider.answer = 200, json.dumps({"keys": public["old"] + public["new"]}).encode()
    clocks.passed += 11
    assert (await ask(new), await ask(old)) == ([True] * 3, [True] * 3)
    asked = provider.asked

    # The provider is away, or answers with what is no key set: the keys that are known are believed meanwhile.
    for answer in ((503, b"away"), (200, b"<html>"), (200, b'{"keys": 5}')):
        provider.answer = answer
        clocks.passed += 301
        assert await ask(new) == [True] * 3, answer
    assert provider.asked == asked + 3

    provider.answer = 200, json.dumps({"keys": public["new"]}).encode()
    clocks.passed += 301
    assert (await ask(new), await ask(old)) == ([True] * 3, [False] * 3)


async def test_a_key_published_later_is_found_after_ten_seconds(tmp_path: Path) -> None:
    clocks = Clocks()
    door = door_of(tmp_path, clocks)
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    assert not door._keys.content
    door.read("k")
    (tmp_path / "jwks.json").unlink()
    token = signed(tmp_path)
    assert await services(door)(token) == [False] * 3
    clocks.passed = 11
    assert await services(door)(token) == [True] * 3


async def test_whoever_is_connected_is_told_that_its_token_was_withdrawn_and_what_is_remembered_is_forgotten(tmp_path: Path) -> None:
    clocks = Clocks()
    guard = Authenticator(door_of(tmp_path, clocks), clock=clocks.wall)
    header, other = f"Bearer {signed(tmp_path)}", f"Bearer {signed(tmp_path, sub='bob', jti='t2')}"
    told: list[str] = []
    guard.changed.append(lambda: told.append("changed"))
    caller, stays = await guard.identify(header), await guard.identify(other)
    assert caller is not None
    assert stays is not None
    told.clear()
    with guard.lease(caller) as lease, guard.lease(stays) as kept:
        (tmp_path / "withdrawn.json").write_text('{"tokens": ["t1"]}')
        clocks.passed = 21
        await guard._read()
        assert (lease.ended.done(), kept.ended.done(), told) == (True, False, ["changed"])
        assert guard.known(header.encode()) == (None, 0.0)
        with pytest.raises(ApiRefusal, match="withdrawn"):
            await guard.identify(header)
        (tmp_path / "jwks.json").write_text('{"keys": []}')
        clocks.passed = 322
        await guard._read()
        assert kept.ended.done(), "its key is published no more"
    assert guard._leases == set()
