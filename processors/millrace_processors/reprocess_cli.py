"""``millrace process reprocess``: reports computed again, from wherever what they are made of still is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from millrace_contracts import exit_codes
from millrace_processors.jobs_cli import JSON, Instant, job, show
from millrace_runtime.screen import echo
from millrace_runtime.stopping import StopSignal

if TYPE_CHECKING:
    from millrace_processors.expected import Expected
    from millrace_processors.kafka_part import Part
    from millrace_processors.refresh import Mode
    from millrace_processors.reprocessing import Reprocessed

SOURCES = ("lake", "kafka", "token", "mongo")


@dataclass(frozen=True)
class Asked:
    """What the options say."""

    source: str
    start: datetime | None
    end: datetime | None
    merchants: tuple[str, ...]
    offsets: str | None
    token: str | None

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: names the options and the fix.
        """
        if self.offsets is not None and self.source != "kafka":
            raise click.UsageError("--offsets speaks of Kafka; add --from kafka, or name a range with --start and --end")
        if self.token is not None and self.source != "token":
            raise click.UsageError("--token speaks of the change stream; add --from token")
        if self.source == "kafka" and self.start is not None and self.offsets is not None:
            raise click.UsageError("--from kafka takes one of --start and --offsets")
        if self.source == "token" and (self.token is None) == (self.start is None):
            raise click.UsageError("--from token takes one of --token (a resume token) and --start (a cluster time)")

    def part(self, topic: str) -> Part:
        """The part of the topic that is meant."""
        from millrace_processors import kafka_part

        if self.source == "token":
            return kafka_part.of_changes(self.token, self.start, self.end, self.merchants)
        return kafka_part.of_records(self.start, self.offsets, topic, self.end, self.merchants)


@click.command()
@click.option("--from", "source", type=click.Choice(SOURCES), default="lake", show_default=True, help="Where to compute from.")
@click.option("--start", type=Instant(), help="Lake, mongo: windows from then on. Kafka: records, token: changes since then.")
@click.option("--end", type=Instant(), help="The same, before then.")
@click.option("--merchant", "merchants", multiple=True, help="Only this merchant; may be given again.")
@click.option("--offsets", help="Kafka: begin at these, as partition:offset, e.g. 0:1500,1:1320; all partitions.")
@click.option("--token", help="Token: the resume token to begin at; the events' source.token, and `millrace relay status`, name some.")
@click.option("--dry-run", is_flag=True, help="Compare, write nothing, and say how long the writing will take.")
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
    token: str | None,
    dry_run: bool,
    no_diff: bool,
    as_json: bool,
) -> int:
    """Compute reports again and say what became different.

    \b
    The stream may go on meanwhile: an older computation never overwrites a newer one. Safe to repeat, safe to kill.
    From the lake: the reports of a range, from all facts that the lake has.
    From Kafka: the events that the topic still has are decoded, put into the lake and reported once more.
    From a token: the same, of the changes from a position of the change stream on.
    From mongo: MongoDB is read as it is now; what the lake has otherwise, or too much, is put right, and the range is reported.
    A dry run reads, computes and compares all; the time that it expects rests on that and on the last run from the same place.
    Example: millrace process reprocess --start 2026-11-24 --end 2026-11-25 --dry-run
             millrace process reprocess --merchant m1 --merchant m2 --json
             millrace process reprocess --from kafka --start 2026-11-24T15:00Z
             millrace process reprocess --from token --token 8269246C00000000012B0229
             millrace process reprocess --from mongo --start 2026-11-24 --dry-run
    Exit codes: 0 done, or a dry run found every report equal; 1 a dry run found others; 2 a wrong option; 3 a server is away;
    6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import reprocessing
    from millrace_processors.refresh import Mode

    asked = Asked(source, start, end, merchants, offsets, token)
    asked.check()
    mode = Mode.COMPARE if dry_run else Mode.WRITE if no_diff else Mode.COMPARE_AND_WRITE
    with job(environ, "reprocess") as (config, lake):
        seconds = reprocessing.timed()
        done = _run(config, lake, asked, mode, seconds)
        taken = seconds()
        return told_reprocess(as_json, source, mode, done, taken, _expectation(config, source, mode, done, taken))


def _run(config: Any, lake: Any, asked: Asked, mode: Mode, seconds: Any) -> Reprocessed:
    from millrace_contracts.documents import PAYMENTS
    from millrace_contracts.topics import change_topic
    from millrace_processors import reprocessing
    from millrace_processors.refresh import Mode
    from millrace_processors.scope import Scope

    if asked.source in ("lake", "mongo"):
        run = reprocessing.from_lake if asked.source == "lake" else reprocessing.from_mongo
        return run(config, lake, Scope(asked.start, asked.end, asked.merchants), mode)
    part = asked.part(change_topic(config.names, PAYMENTS))
    if mode is Mode.COMPARE:
        return reprocessing.preview_kafka(config, lake, part)

    def tell(so_far: Reprocessed) -> None:
        echo(f"{so_far.events:,} events, {so_far.refreshed.reports:,} reports, {seconds():.0f} s", err=True)

    return reprocessing.from_kafka(config, lake, part, mode, StopSignal().install(), tell)


def _expectation(config: Any, source: str, mode: Mode, done: Reprocessed, seconds: float) -> Expected | None:
    """After a dry run, how long the run itself will take; after a run, its rate is kept for the next dry run."""
    from millrace_processors import expected, tables
    from millrace_processors.refresh import Mode

    session, keyspace = tables.connected(config), config.names.keyspace
    if mode is Mode.COMPARE:
        return expected.expected(source, done, seconds, expected.recall(session, keyspace, source))
    work = expected.work_of(source, done)
    if mode is Mode.COMPARE_AND_WRITE and done.finished and work:
        expected.remember(session, keyspace, source, expected.Ran(work, seconds))
    return None


def told_reprocess(as_json: bool, source: str, mode: Mode, done: Reprocessed, seconds: float, expected: Expected | None = None) -> int:
    """Print what a reprocess has done, or what it would and in which time; its exit code."""
    from millrace_processors.refresh import Mode

    found, dry_run, compared = done.refreshed, mode is Mode.COMPARE, mode is not Mode.WRITE
    summary = {
        "from": source, "dryRun": dry_run, "finished": done.finished, "events": done.events, "deadLetters": done.dead_letters,
        "corrected": done.corrected, "retracted": done.retracted,
    }  # fmt: skip
    told = {} if expected is None else {"expectedSeconds": expected.seconds, "expectedRestsOn": expected.rests_on}
    lines = [
        *_read(source, done, dry_run),
        f"{found.reports:,} reports from {found.facts:,} facts in {seconds:.1f} s" + (", none written" if dry_run else ""),
        *([f"{found.equal:,} equal, {found.changed:,} changed, {found.added:,} not in the store before, {found.newer:,} newer there"]
          if compared else []),
        *found.examples,
        *([] if expected is None else [f"Expected to take {expected.seconds:.1f} s when it writes: by {expected.rests_on}."]),
        *([] if done.finished else ["Interrupted; the same command goes on from there."]),
    ]  # fmt: skip
    show(as_json, {**summary, **asdict(found), "compared": compared, "seconds": seconds, **told}, "\n".join(lines))
    if not done.finished:
        return exit_codes.INTERRUPTED
    return exit_codes.DIFFERENT if dry_run and found.changed + found.added else exit_codes.OK


def _read(source: str, done: Reprocessed, dry_run: bool) -> list[str]:
    """What was read beside the lake."""
    dead = f", {done.dead_letters:,} of them can not be decoded" if done.dead_letters else ""
    if source == "mongo":
        would = "would be " if dry_run else ""
        said = f"{done.corrected:,} facts that the lake lacked {would}added, {done.retracted:,} that MongoDB has not {would}retracted"
        return [f"{done.events:,} payments in MongoDB{dead}: {said}"]
    return [] if source == "lake" else [f"{done.events:,} events{dead}"]
