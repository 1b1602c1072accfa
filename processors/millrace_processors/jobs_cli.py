"""What the jobs' commands share, and ``millrace process rollup|customers``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from millrace_contracts import exit_codes
from millrace_contracts.values.instants import parse_bound
from millrace_processors.command_errors import reported
from millrace_processors.schedule import OPS_PORT, Schedule
from millrace_processors.settings import Config
from millrace_runtime import logs
from millrace_runtime.screen import echo

if TYPE_CHECKING:
    from millrace_processors.lake import Lake


class Instant(click.ParamType[datetime]):
    """An instant or a day from 1970 to 2100; an instant without an offset is taken for UTC."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse RFC 3339, its short forms and days."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_bound(value)
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


@contextmanager
def job(environ: Mapping[str, str], name: str) -> Iterator[tuple[Config, Lake]]:
    """A session and the lake for one job; SIGTERM ends it as Ctrl-C does, which is safe at any instant."""
    with reported():
        config = Config.load(environ)
        logs.configure(config.runtime, "processors")
        from py4j.protocol import Py4JError

        from millrace_processors import session
        from millrace_processors.lake import Lake

        spark = session.build(config, name)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield config, Lake(spark, config.lake, config.names.lake_namespace)
        finally:
            with suppress(Py4JError, ConnectionError):  # its JVM may be what has ended
                spark.stop()


def show(as_json: bool, summary: dict[str, Any], text: str) -> None:
    """Print a job's summary."""
    echo(orjson.dumps(summary) if as_json else text)


def first_all(schedule: Schedule, config: Config, ops_port: int, once: Callable[[bool], None], everything: bool) -> None:
    """Run a job over closed windows, with ``everything`` the first time only: what is new since then is enough afterwards."""
    todo = everything

    def run() -> None:
        nonlocal todo
        once(todo)
        todo = False  # only once it held

    schedule.run(config.runtime, ops_port, run, config.processors.patience_seconds)


JSON = click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")


@click.command()
@click.option("--every", type=click.IntRange(1), help="Go on until Ctrl-C, once in so many seconds.")
@click.option("--all", "everything", is_flag=True, help="Make every hour and day again, not only what is new since the last time.")
@OPS_PORT
@JSON
@click.pass_obj
def rollup(environ: Mapping[str, str], every: int | None, everything: bool, ops_port: int, as_json: bool) -> int:
    """Merge the reports of closed hours (UTC) and days (of each merchant's calendar), and pack those of closed UTC days.

    \b
    What has closed since the last time is made, and what late facts or another time zone have touched is made again. The API composes
    long ranges from hours and days, and reads a packed day's 10-minute reports as one row. Safe to repeat, safe to kill, safe beside
    the stream.
    Example: millrace process rollup --every 300
             millrace process rollup --all --json
    Exit codes: 0 done, 2 a wrong option or no lake, 3 a server is away, 6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import rolling, tables

    with job(environ, "rollup") as (config, lake):
        store = tables.connected(config)

        def once(everything: bool) -> None:
            done = rolling.run(config, lake, store, everything=everything)
            show(as_json, asdict(done), told_rollup(done))

        first_all(Schedule("rollup", every), config, ops_port, once, everything)
    return exit_codes.OK


def told_rollup(done: Any) -> str:
    """A rollup in words."""
    if done.through_ms is None:
        return "Nothing is complete yet: the stream has to write its first reports."
    through = datetime.fromtimestamp(done.through_ms / 1000, UTC)
    rezoned = f", {done.rezoned:,} merchants in another time zone" if done.rezoned else ""
    made = f"{done.hours:,} hours and {done.days:,} days, {done.packed:,} packed days"
    return f"{made}, up to {through:%Y-%m-%dT%H:%M:%SZ}{rezoned}" + (" (all)" if done.everything else "")


@click.command()
@click.option("--every", type=click.IntRange(1), help="Go on until Ctrl-C, once in so many seconds.")
@click.option("--all", "everything", is_flag=True, help="Count every day again, not only what is new since the last time.")
@OPS_PORT
@JSON
@click.pass_obj
def customers(environ: Mapping[str, str], every: int | None, everything: bool, ops_port: int, as_json: bool) -> int:
    """Count the new and the returning customers of each closed day of a merchant's calendar.

    \b
    Exact: the lake keeps the day on which each customer was first seen. Late payments, deletions and another time zone move it, and the
    days that this touches are counted again. Safe to repeat, safe to kill, safe beside the stream; one at a time.
    Example: millrace process customers --every 3600
             millrace process customers --all --json
    Exit codes: 0 done, 2 a wrong option or no lake, 3 a server is away, 6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import customers as counting
    from millrace_processors import tables

    with job(environ, "customers") as (config, lake):
        store = tables.connected(config)

        def once(everything: bool) -> None:
            done = counting.run(config, lake, store, everything=everything)
            show(as_json, asdict(done), told_customers(done))

        first_all(Schedule("customers", every), config, ops_port, once, everything)
    return exit_codes.OK


def told_customers(done: Any) -> str:
    """A count of customers in words."""
    if done.through_ms is None:
        return "Nothing is complete yet: the stream has to write its first reports."
    through = datetime.fromtimestamp(done.through_ms / 1000, UTC)
    return f"{done.days:,} days counted up to {through:%Y-%m-%dT%H:%M:%SZ}, {done.moved:,} customers with another first day" + (
        " (all)" if done.everything else ""
    )
