"""``millrace bookmark``: names for points of the change stream."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from millrace_cdc.errors import Misconfigured
from millrace_cdc.mongo import now_ms
from millrace_cdc.replay import keystrings
from millrace_cdc.replay.bookmarks import Bookmark, bookmark_key, bookmarks, check_name, find
from millrace_cdc.replay.history import Reach
from millrace_cdc.replay.keystrings import instant
from millrace_cdc.replay.points import NAME, Point, parse
from millrace_cdc.replay.session import session, show_json
from millrace_cdc.reporting import AS_JSON
from millrace_contracts import exit_codes
from millrace_runtime.screen import echo

COLLECTION = click.option("--collection", metavar="NAME", help="payments by default.")


@click.group()
def bookmark() -> None:
    """Name points of the change stream, to replay from later.

    A bookmark holds nothing back: it is good for as long as the oplog reaches back to it.

    \b
    millrace bookmark add before-migration
    millrace bookmark add noon --at 2026-11-25T12:00:00Z --note "first report of the fault"
    millrace replay --from before-migration
    """


@bookmark.command("add")
@click.argument("name")
@click.option("--at", "where", metavar="POINT", default="now", show_default=True, help="As of `millrace replay`.")
@click.option("--note", default="", metavar="TEXT")
@click.option("--force", is_flag=True, help="Replace a bookmark of this name.")
@COLLECTION
@AS_JSON
@click.pass_obj
def add(environ: Mapping[str, str], name: str, where: str, note: str, force: bool, collection: str | None, as_json: bool) -> int:
    """Name a point; the newest change unless --at says otherwise."""
    with session(environ, collection, "bookmark") as opened:
        check_name(name)
        if not force and name in bookmarks(opened.namespace, opened.records()):
            raise Misconfigured(f"NAME: {opened.namespace} has a bookmark {name!r}; --force replaces it")
        reach = opened.history.reach()
        place = opened.history.find("--at", parse("--at", where, time.time()), reach)
        # Behind the newest change, not before it: what is there now has been seen.
        at = (place.at[0], place.at[1] + 1) if where == "now" else place.at
        made = Bookmark(name, place.token or opened.history.token_at(at), place.at, note, now_ms())
        opened.write(bookmark_key(opened.namespace, name), made.encode())
    if as_json:
        show_json(_row(made, reach))
    else:
        echo(f"{name}: {place.words}")
    return exit_codes.OK


@bookmark.command("list")
@COLLECTION
@AS_JSON
@click.pass_obj
def list_command(environ: Mapping[str, str], collection: str | None, as_json: bool) -> int:
    """List the bookmarks, and whether the oplog still reaches back to each."""
    with session(environ, collection, "bookmark") as opened:
        found = bookmarks(opened.namespace, opened.records())
        reach = opened.history.reach()
    if as_json:
        show_json([_row(each, reach) for each in found.values()])
        return exit_codes.OK
    for each in found.values():
        gone = "of another cluster: the replica set is younger" if reach.complete else "lost: the oplog begins later"
        lost = "" if _reachable(each, reach) else f"  {gone}"
        echo(f"{each.name:24}  {instant(each.at[0])}  {each.note}{lost}".rstrip())
    echo(reach.words() if found else "no bookmarks", err=True)
    return exit_codes.OK


@bookmark.command("show")
@click.argument("name", metavar="NAME|TOKEN")
@COLLECTION
@AS_JSON
@click.pass_obj
def show(environ: Mapping[str, str], name: str, collection: str | None, as_json: bool) -> int:
    """Tell what a bookmark, or any resume token, stands for, and check it against the server.

    \b
    Examples:
      millrace bookmark show before-migration
      millrace bookmark show 826B06E316000000022B022C0100296E5A1004…
    """
    with session(environ, collection, "bookmark") as opened:
        found = find(opened.namespace, opened.records(), name) if NAME.fullmatch(name) else None
        token = found.token if found else parse("TOKEN", name, time.time()).token
        if not token:
            raise Misconfigured(f"TOKEN: {name!r} is neither a bookmark nor a resume token")
        decoded = keystrings.decode(token)
        reach = opened.history.reach()
        opened.history.find("TOKEN", Point("token", token=token), reach)
    answer = {
        "token": token,
        "words": decoded.words(opened.namespace),
        "clusterTime": [decoded.seconds, decoded.ordinal],
        "collection": opened.namespace,
        "collectionUuid": str(decoded.collection) if decoded.collection else None,
        "documentKey": decoded.key,
        "note": found.note if found else "",
    }
    if as_json:
        show_json(answer)
    else:
        echo("\n".join(f"{key:15} {value}" for key, value in answer.items() if value not in (None, "")))
    return exit_codes.OK


@bookmark.command("remove")
@click.argument("name")
@COLLECTION
@click.pass_obj
def remove(environ: Mapping[str, str], name: str, collection: str | None) -> int:
    """Forget a bookmark."""
    with session(environ, collection, "bookmark") as opened:
        find(opened.namespace, opened.records(), name)
        opened.write(bookmark_key(opened.namespace, name), None)
    echo(f"{name}: removed")
    return exit_codes.OK


def _reachable(each: Bookmark, reach: Reach) -> bool:
    return reach.oldest is None or each.at[0] >= reach.oldest


def _row(each: Bookmark, reach: Reach) -> dict[str, object]:
    row = {"name": each.name, "token": each.token, "clusterTime": list(each.at), "time": instant(each.at[0])}
    return {**row, "note": each.note, "createdMs": each.created_ms, "reachable": _reachable(each, reach)}
