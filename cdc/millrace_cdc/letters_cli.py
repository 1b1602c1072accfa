"""``millrace relay dead-letters``."""

from __future__ import annotations

from collections.abc import Mapping

import click
import orjson

from millrace_cdc.letters import find_letter, read_letters, retry
from millrace_cdc.reporting import AS_JSON, reported
from millrace_cdc.running import Configuration
from millrace_contracts import exit_codes
from millrace_contracts.topics import dead_letter_topic
from millrace_contracts.values.shown_text import in_cell
from millrace_runtime.screen import echo


@click.group("dead-letters")
def dead_letters() -> None:
    """Changes that could not become events, with their token and reason; nothing is dropped silently.

    \b
    millrace relay dead-letters list        one line each; the number names it
    millrace relay dead-letters show 3      with its document
    millrace relay dead-letters retry 3     send the document as it is now, after it was put right in MongoDB
    """


@dead_letters.command("list")
@AS_JSON
@click.pass_obj
def list_command(environ: Mapping[str, str], as_json: bool) -> int:
    """List the relay's dead letters, oldest first; --json prints one object a line."""
    settings = Configuration.load(environ)
    with reported():
        for letter in read_letters(settings, dead_letter_topic(settings.names)):
            row = letter.row()
            echo(orjson.dumps(row) if as_json else in_cell(f"{row['offset']:>6}  {row['key'] or '?'}  {row['reason']}"))
    return exit_codes.OK


@dead_letters.command("show")
@click.argument("number", type=click.IntRange(0))
@click.pass_obj
def show_command(environ: Mapping[str, str], number: int) -> int:
    """Print one dead letter as JSON, its document in extended JSON."""
    with reported():
        echo(orjson.dumps(find_letter(Configuration.load(environ), number).whole(), option=orjson.OPT_INDENT_2))
    return exit_codes.OK


@dead_letters.command("retry")
@click.argument("number", type=click.IntRange(0))
@click.pass_obj
def retry_command(environ: Mapping[str, str], number: int) -> int:
    """Send the document of a dead letter as it is now; exit code 6 when it still can not be sent."""
    settings = Configuration.load(environ)
    with reported():
        echo(retry(settings, find_letter(settings, number)))
    return exit_codes.OK
