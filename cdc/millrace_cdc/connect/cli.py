"""``millrace connect``: administer Kafka Connect."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click
import orjson

from millrace_cdc.connect import apply as applying
from millrace_cdc.connect import control_cli, operations, serving_cli
from millrace_cdc.connect.offsets_cli import offsets
from millrace_cdc.connect.plan import Change
from millrace_cdc.connect.screen import AS_JSON, json_text, session, show_json, status_table
from millrace_contracts import exit_codes
from millrace_runtime.screen import echo
from millrace_runtime.stopping import StopSignal


@click.group()
def connect() -> None:
    """Administer Kafka Connect: what connect-config/ declares, and what runs.

    \b
    millrace connect plan               what differs between connect-config/ and the cluster
    millrace connect apply              make it so; safe to repeat, deletes only with --prune
    millrace connect status             connectors, tasks and why one failed
    millrace connect restart --failed   restart what failed; watch does so by itself
    millrace connect offsets --help     where a connector goes on, and how to change it

    A connector goes by its file's name (merchants) or by its whole name on the cluster.

    \b
    Exit codes: 0 as asked, 1 something differs or failed, 2 a wrong option, setting or declaration, 3 no worker answers,
    6 Connect failed inside.
    """


for command in (*control_cli.COMMANDS, offsets, *serving_cli.COMMANDS):
    connect.add_command(command)


@connect.command("plan")
@AS_JSON
@click.option("--validate/--no-validate", default=True, show_default=True, help="Also ask Connect whether it takes what would be stored.")
@click.pass_obj
def plan_command(environ: Mapping[str, str], as_json: bool, validate: bool) -> int:
    """Print what `apply` would do: + is missing, ~ differs, - is not declared and goes only with --prune.

    Exit code 0 when there is nothing to do, 1 when there is. Secrets are named by reference and never printed.

    \b
    Example:
      millrace connect plan --json | jq '.changes[].name'
    """
    with session(environ) as open_session:
        changes, notes = operations.compare(open_session)
        if validate:
            notes += applying.validate(open_session.client, changes)
    _tell(changes, notes, as_json, "plan")
    return exit_codes.DIFFERENT if changes else exit_codes.OK


@connect.command("apply")
@AS_JSON
@click.option("--prune", is_flag=True, help="Also delete connectors of ours that are declared absent or in no file.")
@click.option("--wait", type=click.FloatRange(0), default=applying.SETTLE_SECONDS, show_default=True, metavar="SECONDS", help="For tasks.")
@click.pass_obj
def apply_command(environ: Mapping[str, str], as_json: bool, prune: bool, wait: float) -> int:
    """Make the cluster as declared, wait until the tasks run, and check that a new plan is empty.

    Connect validates every configuration before anything is changed. --wait 0 does not wait for the tasks.
    Documents that a snapshot leaves out become dead letters; MILLRACE_MONGO_DEBEZIUM_URI and MILLRACE_KAFKA_* say where to look.

    \b
    Examples:
      millrace connect apply
      MILLRACE_CONNECT_ENABLE=payments millrace connect apply    payments through Debezium too
    """
    done: list[Change] = []

    def progress(change: Change) -> None:
        done.append(change)
        if not as_json:
            echo(change.line())

    with session(environ) as open_session:
        changes, _ = operations.compare(open_session)
        strange = applying.validate(open_session.client, changes)
        applying.execute(open_session.client, changes, prune=prune, progress=progress)
        if wait:
            applying.settle(open_session.client, applying.targets(done), seconds=wait)
        left, notes = operations.compare(open_session)
        notes += operations.tell_left_out(open_session)
    if as_json:
        show_json({"applied": [change.row() for change in done], "left": [change.row() for change in left], "notes": strange + notes})
    else:
        _tell(left, strange + notes, False, f"apply made {len(done)} changes")
    return exit_codes.DIFFERENT if left else exit_codes.OK


@connect.command("status")
@click.argument("names", nargs=-1, metavar="[CONNECTOR]...")
@AS_JSON
@click.option("--watch", "interval", type=click.FloatRange(0.2), metavar="SECONDS", help="Look again so often until Ctrl-C; print changes.")
@click.pass_obj
def status_command(environ: Mapping[str, str], names: tuple[str, ...], as_json: bool, interval: float | None) -> int:
    """Show connectors and tasks, and why one failed; exit code 1 when one is not as declared.

    \b
    Examples:
      millrace connect status
      millrace connect status merchants --json
      millrace connect status --watch 2
    """
    stop, shown = StopSignal(), ""
    if interval:
        stop.install()
    with session(environ) as open_session:
        while True:
            found = operations.current(open_session, names)
            text = (
                orjson.dumps(found.as_json()).decode()
                if as_json and interval
                else json_text(found.as_json())
                if as_json
                else status_table(found)
            )
            if text != shown:
                echo(text if as_json or not interval else f"{datetime.now(UTC):%H:%M:%S UTC}\n{text}")
                shown = text
            if not interval or stop.wait(interval):
                return exit_codes.OK if found.good else exit_codes.DIFFERENT


def _tell(changes: list[Change], notes: list[str], as_json: bool, title: str) -> None:
    if as_json:
        show_json({"changes": [change.row() for change in changes], "notes": notes})
        return
    for change in changes:
        echo(change.line())
    for note in notes:
        echo(f"  note: {note}", err=True)
    echo(f"{title}: {len(changes)} to do" if changes else f"{title}: the cluster is as declared", err=True)
