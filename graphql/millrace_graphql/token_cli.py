"""``millrace token``: an access token for local use, signed with a key pair that is made in <home>/keys."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import click
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from millrace_contracts.identity import AUDIENCE, LOCAL_ISSUER, Claims, Role
from millrace_contracts.settings import RuntimeSettings, SettingsError
from millrace_runtime.screen import echo

PRIVATE_KEY = "token-key.json"
JWKS = "jwks.json"


def local_key(folder: Path) -> jwt.PyJWK:
    """The local signing key; made, with its jwks.json, where there is none. Two makers agree on the one that came first."""
    path = folder / PRIVATE_KEY
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        private = {**_jwk(ec.generate_private_key(ec.SECP256R1())), "kid": secrets.token_hex(8)}
        draft = folder / f".{secrets.token_hex(8)}"
        _write_private(draft, json.dumps(private))
        try:
            os.link(draft, path)  # fails, and thus keeps the first key, where another process was quicker
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    private = json.loads(path.read_text())
    public = {name: value for name, value in private.items() if name != "d"}
    text = json.dumps({"keys": [public]}, indent=2) + "\n"
    jwks = folder / JWKS
    if not jwks.exists() or jwks.read_text() != text:
        draft = folder / f".{secrets.token_hex(8)}"
        draft.write_text(text)
        draft.replace(jwks)
    return jwt.PyJWK.from_dict(private)


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    return {**ECAlgorithm.to_jwk(key, as_dict=True), "use": "sig", "alg": "ES256"}


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def make_token(folder: Path, role: Role, merchants: list[str], ttl_seconds: int, now: float | None = None) -> str:
    """An access token for local use, valid for ``ttl_seconds``."""
    key = local_key(folder)
    issued = int(time.time() if now is None else now)
    claims: Claims = {
        "iss": LOCAL_ISSUER,
        "aud": AUDIENCE,
        "sub": f"local-{role}",
        "iat": issued,
        "exp": issued + ttl_seconds,
        "jti": secrets.token_hex(8),
        "role": role,
    }
    if role == "merchant":
        claims["merchants"] = merchants
    pem = key.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return jwt.encode(dict(claims), pem, algorithm="ES256", headers={"kid": key.key_id})


@click.command()
@click.option("--merchant", "merchants", multiple=True, metavar="ID", help="A merchant whose rows the token opens; give it again for more.")
@click.option("--role", type=click.Choice(["merchant", "operator", "service"]), default="merchant", show_default=True)
@click.option("--ttl", type=click.IntRange(1, 31 * 86_400), default=86_400, show_default=True, metavar="SECONDS", help="How long it holds.")
@click.option("--json", "as_json", is_flag=True, help="Print an object with the token and its claims.")
@click.pass_obj
def token(settings: Mapping[str, str], merchants: tuple[str, ...], role: Role, ttl: int, as_json: bool) -> None:
    """Make an access token for local use.

    The key pair is made once in <home>/keys; the API trusts it through jwks.json there.

    \b
    Example:
      curl -H "Authorization: Bearer $(millrace token --merchant ID)" http://127.0.0.1:8000/v1/merchants
    """
    if RuntimeSettings.load(settings).environment != "local":
        raise SettingsError("MILLRACE_RUNTIME_ENVIRONMENT", "is not `local`; outside local use tokens come from your identity provider")
    if role == "merchant" and not merchants:
        raise click.UsageError("--merchant: a merchant's token needs at least one merchant id; or give --role operator")
    if role != "merchant" and merchants:
        raise click.UsageError(f"--merchant: the role {role} sees every merchant; leave --merchant out")
    made = make_token(Path(settings["MILLRACE_HOME"]) / "keys", role, list(merchants), ttl)
    if as_json:
        echo(json.dumps({"token": made, "role": role, "merchants": list(merchants), "expiresInSeconds": ttl}))
    else:
        echo(made)
