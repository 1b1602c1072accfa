"""``millrace truth``: compare the API's answers with MongoDB itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import click
from rich.console import Console
from rich.table import Table

from millrace_contracts import exit_codes
from millrace_contracts.settings import NamesSettings, SettingsError
from millrace_contracts.values.shown_text import in_cell
from millrace_runtime.screen import echo
from millrace_stack.errors import StackError
from millrace_stack.truth.answers import Api
from millrace_stack.truth.compare import Comparison, compare
from millrace_stack.truth.mongo import MongoTruth

_SHOWN = 50


@click.command()
@click.option("--sample", type=click.IntRange(min=0), default=20, show_default=True, help="Merchants of which every window is compared.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=120.0, show_default=True, help="Seconds to wait for the last write to arrive."
)
@click.option("--token", help="Access token of an operator; default a local one.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.pass_obj
def truth(environ: Mapping[str, str], sample: int, wait: float, token: str | None, as_json: bool) -> None:
    """Compare what the GraphQL API answers with aggregations in MongoDB.

    \b
    Example: millrace truth --sample 50
    Totals of every merchant and currency, and every 10-minute window of a sample of merchants. Counts and sums must be equal;
    distinct customers too up to 4,096, and within the sketch's error above. Exit code 0 all equal, 1 something differs.
    """
    result = check(environ, sample, wait, token)
    echo(json.dumps(result.as_json()) if as_json else "", nl=as_json)
    if not as_json:
        show(result)
    sys.exit(exit_codes.OK if result.equal else exit_codes.DIFFERENT)


def check(environ: Mapping[str, str], sample: int, wait: float, token: str | None = None) -> Comparison:
    """Run the comparison with the settings of the installation.

    Raises:
        SettingsError: an address is missing.
        StackError: MongoDB or the API does not answer.
    """
    for name in ("MILLRACE_MONGO_TRUTH_URI", "MILLRACE_API_URL"):
        if not environ.get(name):
            raise SettingsError(name, "is not set; start `millrace demo`, or set it in the environment")
    api = Api(environ["MILLRACE_API_URL"], token or operator_token(environ))
    mongo = MongoTruth(environ["MILLRACE_MONGO_TRUTH_URI"], NamesSettings.load(environ).database)
    said: list[str] = []

    def tell(text: str) -> None:
        if sys.stderr.isatty() or said[-1:] != [text[:20]]:
            echo(text, err=True)
        said[:] = [text[:20]]

    try:
        return compare(mongo, api, sample, wait, tell)
    finally:
        api.close()
        mongo.close()


def operator_token(environ: Mapping[str, str]) -> str:
    """A local token that sees every merchant."""
    settings = {name: value for name, value in environ.items() if name.startswith("MILLRACE_")}
    made = subprocess.run(
        [sys.executable, "-m", "millrace", "token", "--role", "operator"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise StackError(f"no access token: {made.stderr.strip()}; give one with --token")
    return made.stdout.strip()


def show(result: Comparison, console: Console | None = None) -> None:
    """Print the table of equal and different, then every difference (the first fifty)."""
    console = console or Console(highlight=False, soft_wrap=True)
    different = {(each.merchant, each.currency) for each in result.differences if not each.window}
    windows = {(each.merchant, each.currency, each.window) for each in result.differences if each.window}
    table = Table(title="The API's answers against MongoDB itself")
    for name in ("compared", "number", "equal", "different"):
        table.add_column(name, justify="left" if name == "compared" else "right")
    for name, number, bad in (
        (f"totals by merchant and currency ({result.merchants} merchants)", result.totals, len(different)),
        (f"10-minute windows of {len(result.sampled)} sampled merchants", result.windows, len(windows)),
    ):
        table.add_row(name, f"{number:,}", f"{max(0, number - bad):,}", f"{bad:,}")
    console.print(table)
    console.print(f"MongoDB holds {result.sums.payments:,} succeeded payments and {result.sums.refunds:,} refunds.")
    for difference in result.differences[:_SHOWN]:
        console.print(in_cell(str(difference)), markup=False)
    if len(result.differences) > _SHOWN:
        console.print(f"… and {len(result.differences) - _SHOWN:,} more; --json names all.")
    console.print("All equal." if result.equal else "Different.")
