"""``millrace query``: ad-hoc SQL over the lake; the service and its callers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import click
import orjson

from millrace_contracts import exit_codes
from millrace_contracts.values.instants import parse_bound
from millrace_processors.command_errors import reported
from millrace_processors.query.serving_cli import serve
from millrace_runtime.screen import echo

if TYPE_CHECKING:
    from millrace_processors.query.client import Client

FORMATS = ("table", "json", "csv", "arrow")
MOST_SHOWN = 200
"""Rows of a table on the screen."""


@click.group()
def query() -> None:
    """Ask ad-hoc SQL over payments and reports.

    A query is one SELECT over the views that `millrace query views` lists. It sees the rows of the token's merchants only, over a range of
    time: the last 31 days unless --start and --end say otherwise.

    \b
    millrace query serve       run the service: a Spark of its own, so that no query slows the stream
    millrace query views       what may be asked, with types and words
    millrace query run SQL     ask, wait, print
    millrace query status JOB  what became of a query
    millrace query result JOB  print its result again
    millrace query cancel JOB  end it, or remove its result
    """


query.add_command(serve)


def _caller(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of who asks whom; the command gets a client."""

    def run(environ: Mapping[str, str], url: str | None, token: str | None, **options: Any) -> Any:
        with reported(), _client(environ, url, token) as client:
            return command(client, **options)

    made: Callable[..., Any] = click.pass_obj(wraps(command)(cast("Any", run)))
    made = click.option("--token", help="Access token; MILLRACE_QUERY_TOKEN. Local: `millrace token --merchant ID`.")(made)
    return click.option("--url", help="The query service; MILLRACE_QUERY_URL.")(made)


@contextmanager
def _client(environ: Mapping[str, str], url: str | None, token: str | None) -> Iterator[Client]:
    from millrace_processors.query.client import Client, ClientSettings

    settings = ClientSettings.load(environ)
    if not (token or settings.token):
        raise click.UsageError("--token: is missing; give it, or set MILLRACE_QUERY_TOKEN. Local: millrace token --merchant ID")
    with Client(url or settings.url, token or settings.token) as client:
        yield client


def _bound(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """The text of an instant or a day as it was given, which the service parses again."""
    try:
        if value is not None:
            parse_bound(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is {error}") from None
    return value


_FORMAT = click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True, help="How rows are printed.")
_OUTPUT = click.option("--output", type=click.Path(dir_okay=False, writable=True), help="Write to this file instead.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@query.command()
@click.argument("sql")
@click.option(
    "--start", callback=_bound, help="Windows from then on, such as 2026-11-01 or 2026-11-01T08:00Z; 31 days before the end by default."
)
@click.option("--end", callback=_bound, help="Windows before then; now by default.")
@click.option("--merchant", "merchants", multiple=True, help="Only this merchant's rows; may be given again. Default: all of the token's.")
@_FORMAT
@_OUTPUT
@click.option("--no-wait", is_flag=True, help="Print the id of the query and do not wait for its end.")
@_caller
def run(
    client: Client,
    sql: str,
    start: str | None,
    end: str | None,
    merchants: tuple[str, ...],
    kind: str,
    output: str | None,
    no_wait: bool,
) -> int:
    """Ask a query, wait for it and print its rows; Ctrl-C cancels it.

    SQL is read from standard input where it is `-`. Amounts are minor units of their currency.

    \b
    Example:
      export MILLRACE_QUERY_TOKEN=$(millrace token --merchant ID)
      millrace query run "SELECT * FROM reports ORDER BY net DESC LIMIT 10"
      millrace query run --start 2026-11-01 --format csv - < busiest-hours.sql
    Exit codes: 0 done, 2 the query is refused, 3 the service is away, 6 it failed, 130 interrupted.
    """
    body: dict[str, Any] = {"sql": sys.stdin.read() if sql == "-" else sql, "start": start, "end": end}
    if merchants:
        body["merchants"] = list(merchants)
    job = client.submit({name: value for name, value in body.items() if value is not None})
    if no_wait:
        echo(job["id"])
        return exit_codes.OK
    try:
        job = client.ended(job["id"])
    except KeyboardInterrupt:
        client.cancel(job["id"])
        echo("Cancelled.", err=True)
        return exit_codes.INTERRUPTED
    _print(client, job, kind, output)
    return exit_codes.OK


@query.command()
@click.argument("job_id", metavar="[ID]", required=False)
@_JSON
@_caller
def status(client: Client, job_id: str | None, as_json: bool) -> int:
    """Tell what became of a query, or of your newest hundred.

    \b
    Example:
      millrace query status
      millrace query status ID --json
    """
    found = [client.job(job_id)] if job_id else client.jobs()
    if as_json:
        echo(orjson.dumps(found[0] if job_id else found))
        return exit_codes.OK
    for job in found:
        echo(f"{job['id']}  {job['state']:<8}  {job['createdAt']}  {' '.join(job['sql'].split()):.80}")
        if "error" in job:
            echo(f"  {job['error']['detail']}")
        elif "rows" in job:
            echo(f"  {told(job)}")
    return exit_codes.OK


@query.command()
@click.argument("job_id", metavar="ID")
@_FORMAT
@_OUTPUT
@_caller
def result(client: Client, job_id: str, kind: str, output: str | None) -> int:
    """Wait for a query and print its rows, as often as you like until they expire (an hour by default).

    \b
    Example:
      millrace query result ID --format arrow --output payments.arrows
    """
    _print(client, client.ended(job_id), kind, output)
    return exit_codes.OK


@query.command()
@click.argument("job_id", metavar="ID")
@_caller
def cancel(client: Client, job_id: str) -> int:
    """End a query that waits or runs; remove the result of one that is done. Safe to repeat.

    \b
    Example:
      millrace query cancel ID
    """
    echo(client.cancel(job_id)["state"])
    return exit_codes.OK


@query.command()
@_JSON
@_caller
def views(client: Client, as_json: bool) -> int:
    """List the views with their columns, types and words, and the functions that may be called.

    \b
    Example:
      millrace query views
    """
    found = client.views()
    if as_json:
        echo(orjson.dumps(found))
        return exit_codes.OK
    for view in found["views"]:
        echo(f"{view['name']}: {view['doc']}")
        for column in view["columns"]:
            echo(f"  {column['name']:<16} {column['type']:<10} {column['doc']}")
        echo()
    echo("Functions: " + ", ".join(found["functions"]))
    return exit_codes.OK


def _print(client: Client, job: dict[str, Any], kind: str, output: str | None) -> None:
    """Rows to standard output or a file, and one line of what they are to standard error."""
    from millrace_processors.query import printing

    with click.open_file(output or "-", "wb") as file:
        if kind == "table":
            printing.table(next(client.pages(job["id"], "json")).json(), file, MOST_SHOWN)
        else:
            printing.rows((page.content for page in client.pages(job["id"], kind)), kind, file)
    echo(told(job), err=True)


def told(job: dict[str, Any]) -> str:
    """A finished query in words."""

    def minutes(text: str) -> str:
        return datetime.fromisoformat(text).strftime("%Y-%m-%dT%H:%MZ")

    found = job["range"]
    default = " (the default range; --start and --end name another)" if found["byDefault"] else ""
    complete = f"complete through {job['completeThrough']}" if job.get("completeThrough") else "completeness not known"
    cut = ", cut off at the limit" if job.get("truncated") else ""
    return f"{job['rows']:,} rows{cut}, windows from {minutes(found['start'])} to {minutes(found['end'])}{default}, {complete}"
