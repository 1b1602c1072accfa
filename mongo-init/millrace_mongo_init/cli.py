"""``millrace mongo-init``: declare the source database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
import orjson
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from millrace_contracts import exit_codes
from millrace_contracts.settings import NamesSettings
from millrace_mongo_init import apply as applying
from millrace_mongo_init import declarations
from millrace_mongo_init.plan import Change, notes, plan
from millrace_mongo_init.server import AUTHENTICATION_FAILED, SERVER_SELECTION_MS, Document, read
from millrace_mongo_init.settings import Login, MongoSettings, logins
from millrace_runtime.screen import echo

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")


class Unavailable(click.ClickException):
    """No server answers."""

    exit_code = exit_codes.UNAVAILABLE


class Refused(click.ClickException):
    """The server refuses what a setting holds."""

    exit_code = exit_codes.USAGE


class Failed(click.ClickException):
    """The server refuses a command."""

    exit_code = exit_codes.FATAL


@click.group("mongo-init")
def mongo_init() -> None:
    """Declare collections, validators, indexes, images, roles and users of the source database.

    \b
    millrace mongo-init plan      what differs (exit code 1) or nothing (0)
    millrace mongo-init apply     make it so; safe to repeat, never drops data
    """


@mongo_init.command("plan")
@AS_JSON
@click.pass_obj
def plan_command(environ: Mapping[str, str], as_json: bool) -> int:
    """Print what `apply` would do: + is missing, ~ differs, ! differs and needs a rebuild.

    Exit code 0 when there is nothing to do, 1 when there is. Passwords are never printed.
    """
    with _connected(environ) as (client, database, users):
        changes, remarks = _compare(client, database, users)
    _report(changes, remarks, as_json, "plan")
    return exit_codes.DIFFERENT if changes else exit_codes.OK


@mongo_init.command("apply")
@AS_JSON
@click.option("--rebuild-indexes", is_flag=True, help="Also drop and build again the indexes that the plan marks with !.")
@click.pass_obj
def apply_command(environ: Mapping[str, str], as_json: bool, rebuild_indexes: bool) -> int:
    """Make the server as declared, and check that a new plan is empty.

    \b
    Exit codes: 0 the server is as declared, 1 something is left that needs a rebuild, 2 a wrong setting, 3 no server.
    """
    done: list[Change] = []

    def progress(change: Change) -> None:
        done.append(change)
        if not as_json:
            echo(change.line())

    with _connected(environ) as (client, database, users):
        changes, _ = _compare(client, database, users)
        applying.execute(client, changes, rebuild_indexes=rebuild_indexes, progress=progress)
        left, remarks = _compare(client, database, users)
    if as_json:
        echo(orjson.dumps({"database": database, "applied": _rows(done), "left": _rows(left), "notes": remarks}))
    else:
        _report(left, remarks, False, f"apply made {len(done)} changes")
    return exit_codes.DIFFERENT if left else exit_codes.OK


def _compare(client: MongoClient[Document], database: str, users: list[Login]) -> tuple[list[Change], list[str]]:
    declared = declarations.load()
    server = read(client, database, users)
    return plan(declared, server, database, users), notes(declared, server, database, users)


def _report(changes: list[Change], remarks: list[str], as_json: bool, title: str) -> None:
    if as_json:
        echo(orjson.dumps({"changes": _rows(changes), "notes": remarks}))
        return
    for change in changes:
        echo(change.line())
    for remark in remarks:
        echo(f"  note: {remark}", err=True)
    echo(f"{title}: {len(changes)} to do" if changes else f"{title}: the server is as declared", err=True)


def _rows(changes: list[Change]) -> list[dict[str, str]]:
    return [{"sign": change.sign, "kind": change.kind, "name": change.name, "detail": change.detail} for change in changes]


@contextmanager
def _connected(environ: Mapping[str, str]) -> Iterator[tuple[MongoClient[Document], str, list[Login]]]:
    settings = MongoSettings.load(environ)
    database = NamesSettings.load(environ).database
    users = logins(settings)
    with MongoClient[Document](settings.admin_uri, serverSelectionTimeoutMS=SERVER_SELECTION_MS) as client:
        try:
            yield client, database, users
        except ConnectionFailure as error:
            reason = str(error).split(", Timeout:")[0]
            raise Unavailable(f"MongoDB does not answer ({reason}); is the stack up?") from None
        except OperationFailure as error:
            if error.code == AUTHENTICATION_FAILED:
                raise Refused("MILLRACE_MONGO_ADMIN_URI: MongoDB refuses this user and password") from None
            text = error.details.get("errmsg", str(error)) if error.details else str(error)
            raise Failed(f"MongoDB refused a command: {text}") from None
