"""``millrace connect offsets show|set|reset``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from millrace_cdc.connect import offsets as guarded
from millrace_cdc.connect.models import SourceOffset
from millrace_cdc.connect.screen import AS_JSON, session, show_json
from millrace_contracts import exit_codes
from millrace_contracts.values.json_text import JsonError, loads
from millrace_runtime.screen import echo

_CLUSTER_TIME = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?")
NAME = click.argument("name", metavar="CONNECTOR")
YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def offsets() -> None:
    """Look at and change where a source connector goes on.

    A change needs a stopped connector, shows the offsets before and after it, and is read back.

    \b
    Example, after history was lost or to send changes again:
      millrace connect stop merchants
      millrace connect offsets set merchants --cluster-time 1795600000
      millrace connect resume merchants
    """


@offsets.command("show")
@NAME
@AS_JSON
@click.pass_obj
def show_command(environ: Mapping[str, str], name: str, as_json: bool) -> int:
    """Print the committed offsets, and where in time they stand."""
    with session(environ) as open_session:
        found = guarded.show(open_session, name)
    if as_json:
        show_json([guarded.row(entry) for entry in found])
    else:
        echo("\n".join(_lines(found)))
    return exit_codes.OK


@offsets.command("set")
@NAME
@click.option("--resume-token", metavar="TOKEN", help="Go on behind this token (hex, or base64 as Debezium stores it).")
@click.option("--cluster-time", metavar="SECONDS[.ORDINAL]", help="Go on at this cluster time.")
@click.option("--offset", "raw", metavar="JSON", help="The offset of another kind of connector, as `show --json` prints it.")
@click.option("--partition", metavar="JSON", help="Which partition, where a connector has several.")
@YES
@AS_JSON
@click.pass_obj
def set_command(
    environ: Mapping[str, str],
    name: str,
    resume_token: str | None,
    cluster_time: str | None,
    raw: str | None,
    partition: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Make a stopped connector go on from another position."""
    if sum(given is not None for given in (resume_token, cluster_time, raw)) != 1:
        raise click.UsageError("give exactly one of --resume-token, --cluster-time and --offset")
    where = _object("--partition", partition) if partition else None
    with session(environ) as open_session:
        if resume_token is not None:
            wanted = guarded.at_token(resume_token)
        else:
            wanted = _time(cluster_time) if cluster_time is not None else _object("--offset", raw or "")
        _confirm(yes, f"{name}: go on {guarded.in_words(wanted) or json.dumps(wanted)}?")
        moved = guarded.move(open_session, name, wanted, where)
    _tell(moved, as_json)
    return exit_codes.OK


@offsets.command("reset")
@NAME
@YES
@AS_JSON
@click.pass_obj
def reset_command(environ: Mapping[str, str], name: str, yes: bool, as_json: bool) -> int:
    """Remove all offsets of a stopped connector: it begins anew, for Debezium with a snapshot."""
    with session(environ) as open_session:
        _confirm(yes, f"{name}: remove all of its offsets?")
        moved = guarded.reset(open_session, name)
    _tell(moved, as_json)
    return exit_codes.OK


def _confirm(yes: bool, question: str) -> None:
    if not yes and not click.confirm(question, err=True):
        raise click.Abort


def _time(text: str) -> dict[str, Any]:
    found = _CLUSTER_TIME.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--cluster-time: {text!r} is not SECONDS or SECONDS.ORDINAL, for example 1795600000.3")
    return guarded.at_time(int(found[1]), int(found[2] or 0))


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        document = loads(text, option)
    except JsonError as error:
        raise click.UsageError(str(error) if error.field is None else f"{option}: {error}") from None
    if not isinstance(document, dict):
        raise click.UsageError(f"{option}: is not a JSON object")
    return document


def _tell(moved: guarded.Moved, as_json: bool) -> None:
    if as_json:
        show_json(moved.as_json())
        return
    echo("\n".join(["before", *_lines(moved.before), "after", *_lines(moved.after)]))
    echo(moved.said, err=True)


def _lines(found: Sequence[SourceOffset]) -> list[str]:
    if not found:
        return ["  none: the connector has not committed any"]
    return [f"  {json.dumps(entry.partition)}  {json.dumps(entry.offset)}  {guarded.in_words(entry.offset)}".rstrip() for entry in found]
