"""``millrace process reprocess|rollup``: the jobs beside the stream."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from millrace_contracts import exit_codes
from millrace_processors.command_errors import reported
from millrace_processors.settings import Config
from millrace_runtime import logs
from millrace_runtime.stopping import StopSignal

if TYPE_CHECKING:
    from millrace_processors.lake import Lake
    from millrace_processors.reprocessing import Reprocessed


class Instant(click.ParamType[datetime]):
    """An instant with its offset; one without is taken for UTC."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse ISO 8601."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not an instant such as 2026-11-24T15:00Z or 2026-11-24", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


@contextmanager
def job(environ: Mapping[str, str], name: str) -> Iterator[tuple[Config, Lake]]:
    """A session and the lake for one job; SIGTERM ends it as Ctrl-C does, which is safe at any instant."""
    with reported():
        config = Config.load(environ)
        logs.configure(config.runtime, "processors")
        from millrace_processors import session
        from millrace_processors.lake import Lake

        spark = session.build(config, name)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield config, Lake(spark, config.lake, config.names.lake_namespace)
        finally:
            spark.stop()


def show(as_json: bool, summary: dict[str, Any], text: str) -> None:
    """Print a job's summary."""
    click.echo(orjson.dumps(summary) if as_json else text)


JSON = click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")


@click.command()
@click.option("--from", "source", type=click.Choice(["lake", "kafka"]), default="lake", show_default=True, help="Where to compute from.")
@click.option("--start", type=Instant(), help="Lake: windows from then on. Kafka: records written since then.")
@click.option("--end", type=Instant(), help="Lake: windows before then.")
@click.option("--merchant", "merchants", multiple=True, help="Lake: only this merchant; may be given again.")
@click.option("--offsets", help="Kafka: begin at these, as partition:offset, e.g. 0:1500,1:1320; all partitions.")
@click.option("--dry-run", is_flag=True, help="Compare and write nothing.")
@click.option("--no-diff", is_flag=True, help="Do not read what the store held before; twice as fast.")
@JSON
@click.pass_obj
def reprocess(
    environ: Mapping[str, str],
    source: str,
    start: datetime | None,
    end: datetime | None,
    merchants: tuple[str, ...],
    offsets: str | None,
    dry_run: bool,
    no_diff: bool,
    as_json: bool,
) -> int:
    """Compute reports again and say what became different.

    \b
    The stream may go on meanwhile: an older computation never overwrites a newer one. Safe to repeat, safe to kill.
    From the lake: the reports of a range, from all facts that the lake has.
    From Kafka: the events that the topic still has are decoded, put into the lake and reported once more.
    Example: millrace process reprocess --start 2026-11-24 --end 2026-11-25 --dry-run
             millrace process reprocess --merchant m1 --merchant m2 --json
             millrace process reprocess --from kafka --start 2026-11-24T15:00Z
    Exit codes: 0 done, or a dry run found every report equal; 1 a dry run found others; 2 a wrong option; 3 a server is away;
    6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import reprocessing
    from millrace_processors.refresh import Mode

    if source == "lake" and offsets is not None:
        raise click.UsageError("--offsets speaks of Kafka; add --from kafka, or name a range with --start and --end")
    if source == "kafka" and (end is not None or merchants or (start is not None and offsets is not None)):
        raise click.UsageError("--from kafka takes one of --start and --offsets, and every merchant up to the end of the topic")
    mode = Mode.COMPARE if dry_run else Mode.WRITE if no_diff else Mode.COMPARE_AND_WRITE
    if source == "kafka":
        return _reprocess_kafka(environ, start, offsets, mode, as_json)
    with job(environ, "reprocess") as (config, lake):
        seconds = reprocessing.timed()
        done = reprocessing.from_lake(config, lake, reprocessing.Scope(start, end, merchants), mode)
        return told_reprocess(as_json, "lake", mode, done, seconds())


def _reprocess_kafka(environ: Mapping[str, str], start: datetime | None, offsets: str | None, mode: Any, as_json: bool) -> int:
    from millrace_contracts.documents import PAYMENTS
    from millrace_contracts.topics import change_topic
    from millrace_processors import reprocessing
    from millrace_processors.refresh import Mode

    with job(environ, "reprocess") as (config, lake):
        starting = reprocessing.starting_at(start, offsets, change_topic(config.names, PAYMENTS))
        if mode is Mode.COMPARE:
            found = reprocessing.preview_kafka(config, lake.session, starting)
            text = "\n".join(f"{name.replace('_', ' ')}: {count:,}" for name, count in found.items())
            show(as_json, {"from": "kafka", "dryRun": True, **found}, f"{text}\nNothing was written.")
            return exit_codes.OK
        stop = StopSignal().install()
        seconds = reprocessing.timed()

        def tell(so_far: Reprocessed) -> None:
            click.echo(f"{so_far.events:,} events, {so_far.refreshed.reports:,} reports, {seconds():.0f} s", err=True)

        done = reprocessing.from_kafka(config, lake, starting, mode, stop, tell)
        return told_reprocess(as_json, "kafka", mode, done, seconds())


def told_reprocess(as_json: bool, source: str, mode: Any, done: Reprocessed, seconds: float) -> int:
    """Print what a reprocess has done; its exit code."""
    from millrace_processors.refresh import Mode

    found, dry_run, compared = done.refreshed, mode is Mode.COMPARE, mode is not Mode.WRITE
    summary = {"from": source, "dryRun": dry_run, "finished": done.finished, "events": done.events, "deadLetters": done.dead_letters}
    counts = f"{found.equal:,} equal, {found.changed:,} changed, {found.added:,} not in the store before, {found.newer:,} newer there"
    lines = [
        f"{found.reports:,} reports from {found.facts:,} facts in {seconds:.1f} s" + (", none written" if dry_run else ""),
        *([counts] if compared else []),
        *found.examples,
        *([] if done.finished else ["Interrupted; the same command goes on from there."]),
    ]
    show(as_json, {**summary, **asdict(found), "compared": compared, "seconds": seconds}, "\n".join(lines))
    if not done.finished:
        return exit_codes.INTERRUPTED
    return exit_codes.DIFFERENT if dry_run and found.changed + found.added else exit_codes.OK


@click.command()
@click.option("--every", type=click.IntRange(1), help="Go on until Ctrl-C, once in so many seconds.")
@click.option("--all", "everything", is_flag=True, help="Make every hour and day again, not only what is new since the last time.")
@JSON
@click.pass_obj
def rollup(environ: Mapping[str, str], every: int | None, everything: bool, as_json: bool) -> int:
    """Merge the reports of closed hours (UTC) and days (of each merchant's calendar).

    \b
    What has closed since the last time is made, and what late facts or another time zone have touched is made again. The API composes
    long ranges from hours and days. Safe to repeat, safe to kill, safe beside the stream.
    Example: millrace process rollup --every 300
             millrace process rollup --all --json
    Exit codes: 0 done, 2 a wrong option or no lake, 3 a server is away, 6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import rolling, tables

    with job(environ, "rollup") as (config, lake):
        store = tables.connected(config)
        stop = StopSignal()
        if every is not None:
            stop.install()
        while True:
            done = rolling.run(config, lake, store, everything=everything)
            show(as_json, asdict(done), told_rollup(done))
            everything = False
            if every is None or stop.wait(every):
                return exit_codes.OK


def told_rollup(done: Any) -> str:
    """A rollup in words."""
    if done.through_ms is None:
        return "Nothing is complete yet: the stream has to write its first reports."
    through = datetime.fromtimestamp(done.through_ms / 1000, UTC)
    rezoned = f", {done.rezoned:,} merchants in another time zone" if done.rezoned else ""
    return f"{done.hours:,} hours and {done.days:,} days up to {through:%Y-%m-%dT%H:%M:%SZ}{rezoned}" + (
        " (all)" if done.everything else ""
    )
