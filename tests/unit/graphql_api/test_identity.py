"""Access tokens: what opens which rows, and every token that must not (I9)."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from millrace_contracts.identity import TokenSettings
from millrace_contracts.settings import SettingsError
from millrace_graphql.errors import ForbiddenError, UnauthenticatedError
from millrace_graphql.identity import Authenticator, Identity
from millrace_graphql.token_cli import local_key, make_token, token
from millrace_runtime.access_tokens import Door

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def authenticator(folder: Path) -> Authenticator:
    return Authenticator(Door(TokenSettings(jwks=str(folder / "jwks.json"))))


def signed(folder: Path, **changes: Any) -> str:
    """A token of the local key with some claims changed; None removes one."""
    key = local_key(folder)
    now = int(time.time())
    claims = {"iss": "millrace-local", "aud": "millrace", "sub": "t", "iat": now, "exp": now + 60, "role": "merchant", "merchants": ["m1"]}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    pem = key.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return jwt.encode(claims, pem, algorithm="ES256", headers={"kid": key.key_id})


async def test_a_merchants_token_opens_its_merchants_and_no_other(tmp_path: Path) -> None:
    caller = await authenticator(tmp_path).identify(f"Bearer {make_token(tmp_path, 'merchant', ['m1', 'm2'], 60)}")
    assert caller == Identity("local-merchant", "merchant", frozenset({"m1", "m2"}))
    caller.require("m1")
    with pytest.raises(ForbiddenError, match="does not open merchant 'm3'"):
        caller.require("m3")


@pytest.mark.parametrize("role", ["operator", "service"])
async def test_operators_and_services_see_every_merchant(tmp_path: Path, role: Any) -> None:
    caller = await authenticator(tmp_path).identify(f"bearer {make_token(tmp_path, role, [], 60)}")
    assert caller is not None
    assert caller.sees("anything")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exp": 1_000_000_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"aud": "another"}, "[Aa]udience"),
        ({"iss": "another"}, "[Ii]ssuer"),
        ({"role": "admin"}, "role 'admin'"),
        ({"role": None}, "role None"),
        ({"merchants": "m1"}, "merchants is not a list"),
        ({"nbf": 4_000_000_000}, "not yet valid"),
    ],
)
async def test_a_token_with_a_wrong_claim_opens_nothing(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnauthenticatedError, match=message):
        await authenticator(tmp_path).identify(f"Bearer {signed(tmp_path, **changes)}")


async def test_a_token_without_merchants_opens_no_row(tmp_path: Path) -> None:
    caller = await authenticator(tmp_path).identify(f"Bearer {signed(tmp_path, merchants=None)}")
    assert caller is not None
    assert not caller.sees("m1")


async def test_an_unsigned_token_opens_nothing(tmp_path: Path) -> None:
    header, body, _ = signed(tmp_path).split(".")
    kid = jwt.get_unverified_header(f"{header}.{body}.")["kid"]
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": kid}).encode()).rstrip(b"=").decode()
    with pytest.raises(UnauthenticatedError, match="'none' is not one of ES256"):
        await authenticator(tmp_path).identify(f"Bearer {none}.{body}.")


async def test_a_token_signed_symmetrically_with_the_public_key_opens_nothing(tmp_path: Path) -> None:
    import hashlib
    import hmac

    _, body, _ = signed(tmp_path).split(".")
    key = local_key(tmp_path)
    public = key.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": key.key_id}).encode()).rstrip(b"=").decode()
    mac = hmac.new(public, f"{header}.{body}".encode(), hashlib.sha256).digest()
    forged = f"{header}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(UnauthenticatedError, match="'HS256' is not one of"):
        await authenticator(tmp_path).identify(f"Bearer {forged}")


async def test_a_token_of_a_foreign_key_opens_nothing(tmp_path: Path) -> None:
    local_key(tmp_path / "ours")
    kid = local_key(tmp_path / "ours").key_id
    other = ec.generate_private_key(ec.SECP256R1())
    now = int(time.time())
    claims = {"iss": "millrace-local", "aud": "millrace", "sub": "t", "iat": now, "exp": now + 60, "role": "operator"}
    forged = jwt.encode(claims, other, algorithm="ES256", headers={"kid": kid})
    with pytest.raises(UnauthenticatedError, match=r"[Ss]ignature"):
        await authenticator(tmp_path / "ours").identify(f"Bearer {forged}")


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "Bearer not.a.token", "Bearer x"])
async def test_a_malformed_header_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await authenticator(tmp_path).identify(header)


async def test_no_header_is_no_identity(tmp_path: Path) -> None:
    assert await authenticator(tmp_path).identify("") is None


async def test_a_remembered_token_is_refused_once_it_has_expired(tmp_path: Path) -> None:
    made = f"Bearer {make_token(tmp_path, 'operator', [], 60)}"
    now = [time.time()]
    settings = TokenSettings(jwks=str(tmp_path / "jwks.json"), leeway_seconds=0)
    guard = Authenticator(Door(settings, wall=lambda: now[0]), leeway=0, clock=lambda: now[0])
    assert await guard.identify(made) is not None
    (tmp_path / "jwks.json").unlink()
    now[0] += 59
    assert await guard.identify(made) is not None, "known, so that no key is needed"
    now[0] += 2
    with pytest.raises(UnauthenticatedError, match="expired"):
        await guard.identify(made)


def test_tenants_are_equal_exactly_where_the_rows_are() -> None:
    # I9: answers are kept by tenant.
    def tenant(role: Any, *merchants: str, subject: str = "s") -> str:
        return Identity(subject, role, frozenset(merchants)).tenant

    assert tenant("merchant", "a", "b") == tenant("merchant", "b", "a", subject="other")
    different = [tenant("merchant", *each) for each in ([], ["a"], ["a", "b"], ["ab"], ["a\0b"], ['a","b'], ["operator"])]
    different += [tenant("operator"), tenant("service")]
    assert len(set(different)) == len(different)
    assert Identity("x", "operator", frozenset()).payer != Identity("y", "operator", frozenset()).payer


async def test_a_known_header_is_found_without_a_look_at_keys_until_it_expires(tmp_path: Path) -> None:
    now = [time.time()]
    settings = TokenSettings(jwks=str(tmp_path / "jwks.json"), leeway_seconds=0)
    guard = Authenticator(Door(settings, wall=lambda: now[0]), leeway=0, clock=lambda: now[0])
    header = f"Bearer {make_token(tmp_path, 'merchant', ['m1'], 60)}"
    assert guard.known(header.encode()) == (None, 0.0)
    caller = await guard.identify(header)
    found, seconds = guard.known(header.encode())
    assert found == caller
    assert 58 < seconds <= 60, "no longer than its token holds"
    now[0] += 61
    assert guard.known(header.encode()) == (None, 0.0)
    assert guard.known(b"") == (None, 0.0)


def test_the_private_key_is_readable_by_its_owner_only_and_made_once(tmp_path: Path) -> None:
    first, second = local_key(tmp_path), local_key(tmp_path)
    assert first.key_id == second.key_id
    assert (tmp_path / "token-key.json").stat().st_mode & 0o777 == 0o600
    assert "d" not in json.loads((tmp_path / "jwks.json").read_text())["keys"][0]


def test_the_command_refuses_to_make_tokens_outside_local_use(tmp_path: Path) -> None:
    settings = {"MILLRACE_HOME": str(tmp_path), "MILLRACE_RUNTIME_ENVIRONMENT": "production"}
    result = CliRunner().invoke(token, ["--merchant", "m1"], obj=settings)
    assert isinstance(result.exception, SettingsError)
    assert list(tmp_path.iterdir()) == []


def test_the_command_wants_a_merchant_for_a_merchants_token(tmp_path: Path) -> None:
    result = CliRunner().invoke(token, [], obj={"MILLRACE_HOME": str(tmp_path)})
    assert result.exit_code == 2
    assert "--merchant" in result.output
