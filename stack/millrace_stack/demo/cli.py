"""``millrace demo``: the whole pipeline on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from millrace_stack.demo.run import Options, run
from millrace_stack.demo.screen import Screen
from millrace_stack.home import Home


@click.command()
@click.option("--check", is_flag=True, help="Stop after the replay, compare with MongoDB itself, exit 0 or 1.")
@click.option("--limit-baskets", type=click.IntRange(min=1), help="Replay only so many baskets, spread over the year.")
@click.option("--rate", type=click.FloatRange(0.1, 100), default=2.0, show_default=True, help="Live payments a second after the replay.")
@click.option(
    "--sample", type=click.IntRange(min=0), default=20, show_default=True, help="--check: merchants of which every window is compared."
)
@click.option(
    "--wait", type=click.FloatRange(min=1), default=300.0, show_default=True, help="--check: seconds to wait for the last report."
)
@click.option(
    "--jobs-every",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="Seconds between two runs of `process rollup` and `process customers` after the replay; 0: never.",
)
@click.option("--home", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder of data and logs; default .millrace.")
@click.pass_obj
def demo(
    environ: Mapping[str, str],
    folder: Path | None,
    check: bool,
    limit_baskets: int | None,
    rate: float,
    sample: int,
    wait: float,
    jobs_every: float,
) -> None:
    """Run the whole pipeline here and replay a real year of retail baskets.

    \b
    Example: millrace demo                        until Ctrl-C, with live payments
             millrace demo --check                compare with the truth and stop
             millrace demo --limit-baskets 5000   a smaller year
    A second start goes on from what is in already, also after a crash.
    """
    home = Home((folder or Path(environ["MILLRACE_HOME"])).resolve())
    options = Options(check=check, limit=limit_baskets, rate=rate, sample=sample, wait=wait, jobs_every=jobs_every)
    # The environment alone: what another home published must not leak in with --home.
    sys.exit(run(home, {name: value for name, value in os.environ.items() if name != "MILLRACE_HOME"}, options, Screen()))
