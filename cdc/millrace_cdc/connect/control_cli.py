"""``millrace connect pause|resume|stop|restart|show|topics|plugins|loggers|worker``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import click

from millrace_cdc.connect import apply as applying
from millrace_cdc.connect import operations
from millrace_cdc.connect.operations import Action
from millrace_cdc.connect.screen import AS_JSON, session, show_json, status_table, table
from millrace_cdc.connect.status import Report
from millrace_contracts import exit_codes
from millrace_runtime.screen import echo

WAIT = click.option(
    "--wait", type=click.FloatRange(0), default=applying.SETTLE_SECONDS, show_default=True, metavar="SECONDS", help="0 does not wait."
)
NAME = click.argument("name", metavar="CONNECTOR")


def _action(action: str, text: str) -> click.Command:
    @click.command(action, help=text)
    @NAME
    @WAIT
    @AS_JSON
    @click.pass_obj
    def command(environ: Mapping[str, str], name: str, wait: float, as_json: bool) -> int:
        with session(environ) as open_session:
            found = operations.act(open_session, cast("Action", action), name, wait=wait)
        _show(found, as_json)
        return exit_codes.OK

    return command


pause = _action("pause", "Pause a connector's tasks; they stay assigned, events wait in MongoDB's oplog.")
resume = _action("resume", "Let a paused or stopped connector run.")
stop = _action("stop", "Stop a connector: its tasks end, its offsets may be changed.")


@click.command()
@click.argument("names", nargs=-1, metavar="[CONNECTOR]...")
@click.option("--failed", is_flag=True, help="Only what failed, of the named connectors or of all of ours.")
@click.option("--task", type=click.IntRange(0), metavar="N", help="Only this task of one connector.")
@WAIT
@AS_JSON
@click.pass_obj
def restart(environ: Mapping[str, str], names: tuple[str, ...], failed: bool, task: int | None, wait: float, as_json: bool) -> int:
    """Restart connectors with their tasks; with --failed only what failed.

    \b
    Examples:
      millrace connect restart --failed
      millrace connect restart merchants
      millrace connect restart merchants --task 0
    """
    if task is not None and (failed or len(names) != 1):
        raise click.UsageError("--task: goes with exactly one CONNECTOR and without --failed")
    if not names and not failed:
        raise click.UsageError("CONNECTOR: name one, or give --failed for whatever failed")
    with session(environ) as open_session:
        if task is not None:
            found = operations.restart_task(open_session, names[0], task)
        elif failed:
            done, found = operations.restart_failed(open_session, names, wait=wait)
            echo(f"restarted {', '.join(done)}" if done else "nothing has failed", err=True)
        else:
            for name in names:
                operations.act(open_session, "restart", name, wait=wait)
            found = operations.current(open_session, names)
    _show(found, as_json)
    return exit_codes.OK


@click.command()
@NAME
@click.pass_obj
def show(environ: Mapping[str, str], name: str) -> int:
    """Print all that the cluster knows of a connector as JSON: state, configuration (secrets hidden), topics, offsets."""
    with session(environ) as open_session:
        show_json(operations.describe(open_session, name))
    return exit_codes.OK


@click.command()
@NAME
@click.option("--reset", is_flag=True, help="Empty the list that Connect keeps of them first.")
@AS_JSON
@click.pass_obj
def topics(environ: Mapping[str, str], name: str, reset: bool, as_json: bool) -> int:
    """List the topics that a connector has written to since it was created or the list was reset."""
    with session(environ) as open_session:
        full = open_session.full(name)
        if reset:
            open_session.client.reset_topics(full)
        found = open_session.client.topics(full)
    if as_json:
        show_json(found)
    else:
        echo("\n".join(found) or "none yet")
    return exit_codes.OK


@click.command()
@click.argument("name", required=False, metavar="[CLASS]")
@click.option("--all", "every", is_flag=True, help="Converters, transformations and predicates too.")
@AS_JSON
@click.pass_obj
def plugins(environ: Mapping[str, str], name: str | None, every: bool, as_json: bool) -> int:
    """List the plugins that the worker has loaded, or the configuration keys of one CLASS."""
    with session(environ) as open_session:
        if name:
            keys = open_session.client.plugin_config(name)
            columns: tuple[str, ...] = ("KEY", "TYPE", "DEFAULT", "MEANING")
            rows: list[tuple[str | None, ...]] = [
                (key.name, key.type, "required" if key.required else key.default_value, key.documentation) for key in keys
            ]
            document = [key.model_dump() for key in keys]
        else:
            found = open_session.client.plugins(connectors_only=not every)
            columns = ("CLASS", "TYPE", "VERSION")
            rows = [(plugin.class_name, plugin.type, plugin.version) for plugin in found]
            document = [plugin.model_dump(by_alias=True) for plugin in found]
    if as_json:
        show_json(document)
    else:
        echo(table(columns, rows))
    return exit_codes.OK


@click.command()
@click.argument("logger", required=False)
@click.argument("level", required=False, type=click.Choice(operations.LEVELS, case_sensitive=False))
@click.option("--cluster", is_flag=True, help="On every worker, not only on the one that answers.")
@AS_JSON
@click.pass_obj
def loggers(environ: Mapping[str, str], logger: str | None, level: str | None, cluster: bool, as_json: bool) -> int:
    """List the loggers of the worker, show one, or set its LEVEL until the worker is started again.

    \b
    Example:
      millrace connect loggers io.debezium.connector.mongodb DEBUG --cluster
    """
    with session(environ) as open_session:
        if logger and level:
            changed = operations.set_level(open_session, logger, level, cluster=cluster)
            echo(f"{logger} is {level.upper()} on every worker" if cluster else f"{len(changed)} loggers are {level.upper()}", err=True)
            return exit_codes.OK
        found = {logger: open_session.client.logger(logger)} if logger else open_session.client.loggers()
    if as_json:
        show_json({name: entry.model_dump() for name, entry in found.items()})
        return exit_codes.OK
    echo(table(("LOGGER", "LEVEL", "CHANGED"), [(name, entry.level, _when(entry.last_modified)) for name, entry in found.items()]))
    return exit_codes.OK


@click.command()
@AS_JSON
@click.pass_obj
def worker(environ: Mapping[str, str], as_json: bool) -> int:
    """Show the worker that answers: version, Kafka cluster, health; exit code 1 when it is not healthy."""
    with session(environ) as open_session:
        found = operations.worker(open_session)
    if as_json:
        show_json(found)
    else:
        echo("\n".join(f"{name:17} {value}" for name, value in found.items()))
    return exit_codes.OK if found["health"] == "healthy" else exit_codes.DIFFERENT


COMMANDS = (pause, resume, stop, restart, show, topics, plugins, loggers, worker)


def _show(found: Report, as_json: bool) -> None:
    if as_json:
        show_json(found.as_json())
    else:
        echo(status_table(found))


def _when(ms: int | None) -> str:
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
