"""``millrace process maintain|audit``: the jobs that keep the lake and the reports in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from millrace_contracts import exit_codes
from millrace_contracts.reports import PROGRESS_CUSTOMERS, PROGRESS_ROLLUPS
from millrace_processors.jobs_cli import JSON, Instant, job, show
from millrace_processors.schedule import OPS_PORT, Schedule
from millrace_runtime.screen import echo

if TYPE_CHECKING:
    from millrace_processors.auditing import Audited, Window
    from millrace_processors.maintenance import Maintained


@click.command()
@click.option("--keep-hours", type=click.IntRange(1), default=24, show_default=True, help="Keep every snapshot of so many hours.")
@click.option("--retention-days", type=click.IntRange(31), default=1826, show_default=True, help="Drop facts of months before then.")
@click.option("--small-files", type=click.IntRange(2), default=5, show_default=True, help="Join the files of a partition with so many.")
@click.option("--every", type=click.IntRange(60), help="Go on until Ctrl-C, once in so many seconds.")
@OPS_PORT
@JSON
@click.pass_obj
def maintain(
    environ: Mapping[str, str],
    keep_hours: int,
    retention_days: int,
    small_files: int,
    every: int | None,
    ops_port: int,
    as_json: bool,
) -> int:
    """Join small files, expire snapshots, remove orphaned files, and drop facts after their retention.

    \b
    The stream may go on meanwhile, and no report changes: superseded versions stay. The snapshots that a batch which runs again or the
    next rollup needs stay too. Safe to repeat, safe to kill. Run it once a day, or hourly where the stream's trigger is short.
    Example: millrace process maintain
             millrace process maintain --keep-hours 6 --json
             millrace process maintain --every 86400
    Exit codes: 0 done, 2 a wrong option or no lake, 3 a server is away, 6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import maintenance, tables
    from millrace_processors.rollup_state import RollupProgress

    with job(environ, "maintain") as (config, lake):
        plan = maintenance.Plan(timedelta(hours=keep_hours), timedelta(days=retention_days), small_files)

        def once() -> None:
            store = tables.connected(config)
            found = [RollupProgress(store, config.names.keyspace, name).load() for name in (PROGRESS_ROLLUPS, PROGRESS_CUSTOMERS)]
            done = maintenance.run(lake, plan, [each for each in found if each is not None], lambda line: echo(line, err=True))
            show(as_json, {"tables": [asdict(each) for each in done]}, "\n".join(map(told_table, done)))

        Schedule("maintain", every).run(config.runtime, ops_port, once, config.processors.patience_seconds)
    return exit_codes.OK


def told_table(done: Maintained) -> str:
    """What maintenance has done to a table, in words."""
    return (
        f"{done.table}: {done.joined_files:,} files joined into {done.new_files:,}, {done.expired_snapshots:,} snapshots expired and "
        f"{done.kept_snapshots:,} kept, {done.orphans:,} orphaned files removed"
        + (f", {done.dropped_facts:,} facts dropped" if done.dropped_facts else "")
    )


@click.command()
@click.option("--start", type=Instant(), help="Windows from then on.")
@click.option("--end", type=Instant(), help="Windows before then.")
@click.option("--merchant", "merchants", multiple=True, help="Only this merchant; may be given again.")
@click.option("--repair", is_flag=True, help="Put right what differs, in just those windows.")
@click.option("--every", type=click.IntRange(60), help="Go on until Ctrl-C, once in so many seconds.")
@OPS_PORT
@JSON
@click.pass_obj
def audit(
    environ: Mapping[str, str],
    start: datetime | None,
    end: datetime | None,
    merchants: tuple[str, ...],
    repair: bool,
    every: int | None,
    ops_port: int,
    as_json: bool,
) -> int:
    """Compare MongoDB, Kafka, the lake and the reports, window by window, and write a certificate for each.

    \b
    Counts, sums and a digest that does not depend on the order have to be equal; a difference has to last to count, since the stream
    may be at work. MongoDB is looked at as it was when all was complete (MILLRACE_MONGO_TRUTH_URI; it remembers some minutes), and what the
    relay has counted as written has to be in Kafka. Payments of MongoDB that no report can take are told by the field that is wrong;
    the dead letters hold them. The certificates are the rows of the lake's table `certificates`.
    Safe to repeat, safe to kill.
    Example: millrace process audit --start 2026-11-24 --json
             millrace process audit --repair
    Exit codes: 0 all equal, or repaired; 1 windows differ; 2 a wrong option or nothing complete yet; 3 a server is away;
    6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import auditing
    from millrace_processors.scope import Scope

    with job(environ, "audit") as (config, lake):
        code = exit_codes.OK

        def once() -> None:
            nonlocal code
            found = auditing.run(config, lake, Scope(start, end, merchants), repair=repair)
            show(as_json, asdict(found), told_audit(found))
            mended = repair and not any(each.of_relay for each in found.differing)
            code = exit_codes.DIFFERENT if found.differing and not mended else exit_codes.OK

        Schedule("audit", every).run(config.runtime, ops_port, once, config.processors.patience_seconds)
    return code


def told_audit(found: Audited) -> str:
    """An audit in words."""
    through = datetime.fromtimestamp(found.through_ms / 1000, UTC)
    lines = [_told_window(each) for each in found.differing] + [f"Not compared: {each}" for each in found.left_out]
    lines.append(
        f"{found.certified:,} of {found.windows:,} windows certified, {len(found.differing):,} differ, up to {through:%Y-%m-%dT%H:%M:%SZ}"
    )
    if found.refused:
        count = sum(found.refused.values())
        fields = ", ".join(name if len(found.refused) == 1 else f"{name} ({each:,})" for name, each in sorted(found.refused.items()))
        lines.append(f"{count:,} payment{'' if count == 1 else 's'} refused: {fields}")
    if found.repaired_facts or found.repaired_reports:
        lines.append(f"Repaired: {found.repaired_facts:,} facts, {found.repaired_reports:,} reports")
    return "\n".join(lines)


def _told_window(window: Window) -> str:
    said = [
        f"{window.kafka_facts:,} facts in Kafka, {window.lake_facts:,} of them in the lake (amounts {window.kafka_amount:,} and "
        f"{window.lake_amount:,})"
    ]
    if window.of_mongo:
        said.append(
            f"{window.mongo_facts:,} in MongoDB and {window.live_facts:,} in the lake now (amounts {window.mongo_amount:,} and "
            f"{window.live_amount:,})"
        )
    if window.of_relay:
        said.append(f"Kafka has {window.topic_events:,} of {window.relay_events:,} events that the relay has written")
    said.append(
        f"{window.differing_reports:,} of {window.reports:,} reports differ" + (f", such as {window.example}" if window.example else "")
    )
    return f"{window.start:%Y-%m-%dT%H:%MZ}: {'; '.join(said)}"
