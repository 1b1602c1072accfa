"""``millrace load``: post payments to the collection API."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import click

from millrace_contracts import exit_codes
from millrace_contracts.settings import SettingsError
from millrace_contracts.values import currencies
from millrace_runtime.screen import echo
from millrace_stack.load.client import CollectionClient
from millrace_stack.load.run import Pace, Tally, run
from millrace_stack.load.traffic import Traffic

_SHARE = click.FloatRange(0, 1)


def _currencies(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    codes = tuple(part.strip().upper() for part in value.split(",") if part.strip())
    for code in codes:
        try:
            currencies.checked(code)
        except ValueError as error:
            raise click.BadParameter(f"{code!r} is {error}") from None
    if not codes:
        raise click.BadParameter("name at least one ISO 4217 code")
    return codes


@click.command()
@click.option("--rate", type=click.FloatRange(min=0.1), help="Commands a second; leave it out with --max.")
@click.option("--max", "as_fast", is_flag=True, help="As fast as the API takes them.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=30.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed and --start give the same commands.")
@click.option("--start", type=click.IntRange(946_684_800_000, 4_102_444_800_000), help="Time of the first payment, epoch ms; default now.")
@click.option("--merchants", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option(
    "--skew", type=click.FloatRange(0, 3), default=1.0, show_default=True, help="Exponent of Zipf's law over merchants; 0 is even."
)
@click.option("--duplicates", type=_SHARE, default=0.01, show_default=True, help="Share of payments posted twice.")
@click.option("--late", type=_SHARE, default=0.02, show_default=True, help="Share of payments up to 31 days late.")
@click.option("--refunds", type=_SHARE, default=0.03, show_default=True, help="Share of payments refunded.")
@click.option("--currencies", default="USD", show_default=True, callback=_currencies, help="Comma-separated ISO 4217 codes.")
@click.option("--bulk", is_flag=True, help="NDJSON through /v1/payments/bulk instead of one request a command.")
@click.option("--batch", type=click.IntRange(2, 20_000), default=1000, show_default=True, help="Most lines of one bulk request.")
@click.option("--connections", type=click.IntRange(1, 64), default=4, show_default=True)
@click.option("--url", help="Collection API; default MILLRACE_COLLECTION_URL.")
@click.option("--key", help="API key; default MILLRACE_COLLECTION_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def load(environ: Mapping[str, str], /, **options: Any) -> None:
    """Post payments, refunds and duplicates to the collection API, steadily or as fast as possible.

    \b
    Example: millrace load --rate 200 --seconds 60 --currencies USD,EUR
             millrace load --max --bulk --seconds 30 --json
    Ctrl-C ends it early and prints the summary.
    """
    if bool(options["rate"]) == options["as_fast"]:
        raise click.UsageError("give either --rate N or --max")
    url = _setting(environ, options["url"], "MILLRACE_COLLECTION_URL")
    key = _setting(environ, options["key"], "MILLRACE_COLLECTION_KEY")
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    tally, error = Tally(), None
    try:
        _run(url, key, options, stopped, tally)
    except click.ClickException as failed:
        # Stopped by a person in an outage is no failure.
        error = failed if not tally.seconds or not stopped.is_set() or "stopped while" not in failed.message else None
    if sys.stderr.isatty():
        echo(err=True)
    echo(json.dumps(tally.summary()) if options["as_json"] else _text(tally.summary()))
    if error:
        raise error
    if tally.refused:
        sys.exit(exit_codes.DIFFERENT)


def _run(url: str, key: str, options: Mapping[str, Any], stopped: threading.Event, tally: Tally) -> None:
    rate = options["rate"]
    traffic = Traffic(
        seed=options["seed"],
        merchants=options["merchants"],
        skew=options["skew"],
        duplicates=options["duplicates"],
        late=options["late"],
        refunds=options["refunds"],
        currencies=options["currencies"],
        start_ms=options["start"] or int(time.time() * 1000),
        every_ms=1000 / rate if rate else 0.1,
    )

    def client() -> CollectionClient:
        return CollectionClient(url, key, patience=60.0, stopped=stopped, notify=lambda text: echo(text, err=True))

    maker = client()
    for identifier, body in traffic.merchant_bodies().items():
        maker.put(f"/v1/merchants/{identifier}", body)
    maker.close()
    batch = options["batch"] if options["bulk"] else 1
    pace = Pace(options["seconds"], rate, options["connections"], batch)
    run(client, traffic, pace, stopped, tally, _live if sys.stderr.isatty() else lambda _: None)


def _live(tally: Tally) -> None:
    seconds = time.monotonic() - tally.started
    click.echo(f"\r{seconds:6.1f} s  {tally.commands:>9,} commands  {tally.commands / seconds:>8,.0f}/s  ", err=True, nl=False)  # noqa: TID251 - \r


def _setting(environ: Mapping[str, str], given: str | None, variable: str) -> str:
    value = given or environ.get(variable, "")
    if not value:
        raise SettingsError(variable, "is not set; give the option, or run `millrace demo` first")
    return value


def _text(summary: Mapping[str, Any]) -> str:
    latency = summary["latencyMs"]
    lines = [
        f"{summary['commands']:,} commands in {summary['seconds']:.1f} s: {summary['ratePerSecond']:,.0f}/s",
        f"written {summary['written']:,}, there already {summary['repeated']:,}, refused {summary['refused']:,}",
        f"requests sent again {summary['retries']:,}",
        f"request latency ms: p50 {latency['p50']}, p95 {latency['p95']}, p99 {latency['p99']}, max {latency['max']}",
    ]
    return "\n".join([*lines, *(f"  {count:>8,} x {kind}" for kind, count in summary["errors"].items())])
