"""``millrace process maintain|audit``: the jobs that keep the lake and the reports in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta

import click

from millrace_contracts import exit_codes
from millrace_processors.jobs_cli import JSON, job, show


@click.command()
@click.option("--keep-hours", type=click.IntRange(1), default=24, show_default=True, help="Keep every snapshot of so many hours.")
@click.option("--retention-days", type=click.IntRange(31), default=1826, show_default=True, help="Drop facts of months before then.")
@click.option("--small-files", type=click.IntRange(2), default=5, show_default=True, help="Join the files of a partition with so many.")
@JSON
@click.pass_obj
def maintain(environ: Mapping[str, str], keep_hours: int, retention_days: int, small_files: int, as_json: bool) -> int:
    """Join small files, expire snapshots, remove orphaned files, and drop facts after their retention.

    \b
    The stream may go on meanwhile, and no report changes: superseded versions stay. The snapshots that a batch which runs again or the
    next rollup needs stay too. Safe to repeat, safe to kill. Run it once a day, or hourly where the stream's trigger is short.
    Example: millrace process maintain
             millrace process maintain --keep-hours 6 --json
    Exit codes: 0 done, 2 a wrong option or no lake, 3 a server is away, 6 failed, run it again; 130 interrupted.
    """
    from millrace_processors import maintenance, tables
    from millrace_processors.rollup_state import RollupProgress

    with job(environ, "maintain") as (config, lake):
        rollups = RollupProgress(tables.connected(config), config.names.keyspace).load()
        plan = maintenance.Plan(timedelta(hours=keep_hours), timedelta(days=retention_days), small_files)
        done = maintenance.run(lake, plan, rollups, lambda line: click.echo(line, err=True))
    lines = [
        f"{each.table}: {each.joined_files:,} files joined into {each.new_files:,}, {each.expired_snapshots:,} snapshots expired and "
        f"{each.kept_snapshots:,} kept, {each.orphans:,} orphaned files removed"
        + (f", {each.dropped_facts:,} facts dropped" if each.dropped_facts else "")
        for each in done
    ]
    show(as_json, {"tables": [asdict(each) for each in done]}, "\n".join(lines))
    return exit_codes.OK
