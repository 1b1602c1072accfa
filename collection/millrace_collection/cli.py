"""``millrace collection``: run the collection API and manage its keys."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

import click
import orjson

from millrace_collection.identity import make_key
from millrace_collection.mongo_store import MongoStore
from millrace_collection.services import utc_now
from millrace_collection.settings import URL_VARIABLE, CollectionSettings, MongoSettings
from millrace_collection.store import ApiKey, StoreUnavailable
from millrace_contracts import exit_codes
from millrace_contracts.identity import SCOPES
from millrace_contracts.settings import NamesSettings, RuntimeSettings
from millrace_contracts.values.identifiers import no_control
from millrace_contracts.values.instants import parse_bound
from millrace_runtime.listening import address_for, port_for
from millrace_runtime.screen import echo

Result = TypeVar("Result")
KEY_COMMAND_SECONDS = 10.0
MOST_MERCHANTS = 1_000
KILL_SECONDS = 30
"""From SIGTERM to the end, whatever a request in flight does."""
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Unavailable(click.ClickException):
    """MongoDB does not answer."""

    exit_code = exit_codes.UNAVAILABLE


@click.group()
def collection() -> None:
    """Run the collection API and manage its API keys.

    \b
    millrace collection keys create --name shop --scope payments:write
    millrace collection run --port 8000
    curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" http://127.0.0.1:8000/v1/merchants/m1
    """


@collection.command()
@click.option("--host", help="Address to listen on; MILLRACE_RUNTIME_HOST by default.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that serve.")
@click.pass_obj
def run(environ: Mapping[str, str], host: str | None, port: int, workers: int) -> None:
    """Serve the API until SIGTERM or Ctrl-C; requests in flight are finished.

    \b
    Example: millrace collection run --port 8000 --workers 2
    A worker that dies is replaced; SIGTERM ends them all within 30 s, whichever of them it reaches.
    Logs one JSON line {"event": "ready", "url": …} for each worker. /health, /ready and /metrics are on the same port.
    """
    host = address_for(RuntimeSettings.load(environ), host)
    CollectionSettings.load(environ)
    MongoSettings.load(environ)
    port = port_for(host, port)
    os.environ.update({name: value for name, value in environ.items() if name.startswith("MILLRACE_")})
    os.environ.update({URL_VARIABLE: f"http://{host}:{port}"})
    with tempfile.TemporaryDirectory(prefix="millrace-metrics-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from millrace_runtime.workers import serve

        target = "millrace_collection.app:create"
        serve(target, host, port, workers=workers, kill_timeout=KILL_SECONDS, websockets=False, backlog=2048)


@collection.group()
def keys() -> None:
    """Create, list and revoke API keys. Only hashes are kept: a key is shown once."""


def _expiry(context: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        expires = parse_bound(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is {error}") from None
    if expires <= utc_now():
        raise click.BadParameter(f"{text} has passed; give an instant that lies ahead")
    return expires


def _plain(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        return no_control(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@keys.command("create")
@click.option("--name", required=True, callback=_plain, help="Whose key it is.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be given several times.")
@click.option("--merchant", "merchants", multiple=True, help="Bind the key to this merchant; may be given several times. Default: all.")
@click.option("--expires", metavar="INSTANT", callback=_expiry, help="The key is refused from then on, such as 2027-01-01T00:00Z.")
@click.option("--quota", type=click.IntRange(1, 100_000_000), help="Most commands a minute, over all processes; more are answered 429.")
@AS_JSON
@click.pass_obj
def create_key(
    environ: Mapping[str, str],
    name: str,
    scopes: tuple[str, ...],
    merchants: tuple[str, ...],
    expires: datetime | None,
    quota: int | None,
    as_json: bool,
) -> None:
    """Make an API key and print it, once.

    A key that is bound to merchants answers 403 beyond them, the same whether something is there or not, and opens no users.

    \b
    Example: millrace collection keys create --name shop --scope payments:write --merchant m1 --expires 2027-01-01T00:00Z
    """
    if len(set(merchants)) > MOST_MERCHANTS:
        raise click.UsageError(f"--merchant: a key is bound to {MOST_MERCHANTS} merchants at most, and not to {len(set(merchants))}")
    bound = sorted(set(merchants))
    text, key = make_key(name, sorted(set(scopes)), utc_now(), merchants=bound, expires_at=expires, quota=quota)
    _with_store(environ, lambda store: store.add_api_key(key))
    if as_json:
        echo(orjson.dumps({"key": text, **_row(key)}))
    else:
        echo(text)
        echo("This key is shown only now; send it as `Authorization: Bearer <key>`.", err=True)


@keys.command("list")
@AS_JSON
@click.pass_obj
def list_keys(environ: Mapping[str, str], as_json: bool) -> None:
    """List the keys without their secrets."""
    found = _with_store(environ, lambda store: store.api_keys())
    if as_json:
        echo(orjson.dumps([_row(key) for key in found]))
        return
    for key in found:
        echo(f"{key.id}  {key.created_at:%Y-%m-%d %H:%M}  {_state(key):24}  {key.name}  {','.join(key.scopes)}{_bounds(key)}")


@keys.command("revoke")
@click.argument("key_id")
@click.pass_obj
def revoke_key(environ: Mapping[str, str], key_id: str) -> int:
    """Revoke the key with this id (see `list`); processes notice within MILLRACE_COLLECTION_KEY_CACHE_SECONDS."""
    revoked = _with_store(environ, lambda store: store.revoke_api_key(key_id, utc_now()))
    echo(f"revoked {key_id}" if revoked else f"{key_id}: no valid key has this id", err=not revoked)
    return exit_codes.OK if revoked else exit_codes.DIFFERENT


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    if key.expires_at:
        return f"{'expired' if key.expires_at <= utc_now() else 'valid until'} {key.expires_at:%Y-%m-%d %H:%M}"
    return "valid"


def _bounds(key: ApiKey) -> str:
    return (f"  of {','.join(key.merchants)}" if key.merchants else "") + (f"  {key.quota}/min" if key.quota else "")


def _row(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "createdAt": key.created_at,
        "revokedAt": key.revoked_at,
        "merchants": key.merchants or None,
        "expiresAt": key.expires_at,
        "quota": key.quota,
    }


def _with_store(environ: Mapping[str, str], use: Callable[[MongoStore], Awaitable[Result]]) -> Result:
    uri = MongoSettings.load(environ).collection_uri
    database = NamesSettings.load(environ).database

    async def used() -> Result:
        store = MongoStore(uri, database, KEY_COMMAND_SECONDS)
        try:
            return await use(store)
        finally:
            await store.close()

    try:
        return asyncio.run(used())
    except StoreUnavailable as error:
        raise Unavailable(str(error)[:300]) from None
