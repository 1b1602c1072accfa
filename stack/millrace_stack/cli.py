"""``millrace stack``: the local servers."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from millrace_contracts import exit_codes
from millrace_runtime.screen import echo
from millrace_stack import nginx as local_nginx
from millrace_stack.artefacts import sets
from millrace_stack.artefacts.resolve import resolve as resolve_sets
from millrace_stack.errors import StackError
from millrace_stack.servers import ALL
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Health, Stack, home_of

_started = time.monotonic()


def _say(line: str) -> None:
    echo(f"[{time.monotonic() - _started:5.1f} s] {line}", err=True)


def _open(environ: Mapping[str, str], report: Callable[[str], None] = _say) -> Stack:
    return Stack(home_of(environ), StackSettings.load(environ), report)


def _server(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value not in ALL:
        raise click.BadParameter(f"{value!r} is none of {', '.join(ALL)}")
    return value


@click.group()
def stack() -> None:
    """Start, stop and look at the local servers: MongoDB, Kafka, Connect, Cassandra, Redis.

    They are real processes on 127.0.0.1; their data is in the home folder (MILLRACE_HOME, default .millrace), their programs in a cache
    (MILLRACE_STACK_CACHE, default ~/.cache/millrace).

    \b
    Example:
      millrace stack up
      millrace stack status
      millrace stack logs kafka -f
      millrace stack down
    """


@stack.command()
@click.option("--offline", is_flag=True, help="Only check that everything is in the cache.")
@click.pass_obj
def resolve(environ: Mapping[str, str], offline: bool) -> None:
    """Resolve the pinned programs into the cache and verify their checksums; quick when they are there."""
    settings = StackSettings.load(environ)
    resolve_sets(sets.ALL, settings.cache_path(), _say, offline=offline)
    _say(f"all artefacts are in {settings.cache_path()}")


@stack.command()
@click.option("--only", default="", metavar="NAMES", help="Servers to start, e.g. mongo,kafka; what they need is started too.")
@click.option("--json", "as_json", is_flag=True, help="Print addresses and state as JSON on standard output.")
@click.pass_obj
def up(environ: Mapping[str, str], only: str, as_json: bool) -> None:
    """Start what does not run and wait until it answers; Ctrl-C stops what this start began.

    Addresses are written to endpoints.json and secrets.json in the home folder, where every `millrace` command finds them.

    \b
    Example:
      millrace stack up --only mongo,kafka
    """
    # A SIGTERM takes the same way out as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    opened = _open(environ)
    try:
        settings = opened.up([name.strip() for name in only.split(",") if name.strip()])
    except KeyboardInterrupt:
        _say("interrupted; what this start began is stopped")
        raise click.exceptions.Exit(exit_codes.INTERRUPTED) from None
    if as_json:
        shown = {name: value for name, value in settings.items() if "@" not in value and not name.endswith("SECRET")}
        echo(json.dumps({"home": str(opened.home.path), "settings": shown, "servers": [each.json() for each in opened.status()]}, indent=2))
    else:
        _say(f"ready; addresses are in {opened.home.path}")


@stack.command()
@click.pass_obj
def down(environ: Mapping[str, str]) -> None:
    """Stop every process of this home; data stays."""
    stopped = _open(environ).down()
    _say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@stack.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def status(environ: Mapping[str, str], as_json: bool) -> None:
    """Show pid, port, memory, uptime and health; exit code 0 when every server is healthy, else 1."""
    found = _open(environ).status()
    if as_json:
        echo(json.dumps([each.json() for each in found], indent=2))
    else:
        _print(found)
    if any(each.state != "healthy" for each in found if each.name in ALL):
        raise click.exceptions.Exit(exit_codes.DIFFERENT)


@stack.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on printing until Ctrl-C.")
@click.option("-n", "--lines", default=50, show_default=True, help="Lines from the end.")
@click.pass_obj
def logs(environ: Mapping[str, str], name: str, follow: bool, lines: int) -> None:
    """Print the log of a server, or of a tier that runs in this home."""
    path = home_of(environ).path / "logs" / f"{name}.log"
    if not path.is_file():
        known = sorted(each.stem for each in path.parent.glob("*.log")) if path.parent.is_dir() else []
        raise click.BadParameter(f"no log of {name!r} in {path.parent}; there {'is ' + ', '.join(known) if known else 'is none yet'}")
    _print_log(path, lines, follow)


@stack.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def wipe(environ: Mapping[str, str], yes: bool) -> None:
    """Stop everything and remove its data, lake, checkpoints and logs; addresses and the cache stay."""
    opened = _open(environ)
    if not yes:
        click.confirm(f"Remove all data in {opened.home.path}?", abort=True, err=True)
    opened.wipe()
    _say(f"{opened.home.path} holds no data any more")


@stack.command()
@click.argument("name", callback=_server)
@click.pass_obj
def restart(environ: Mapping[str, str], name: str) -> None:
    """Stop one server and start it again at the same address."""
    _open(environ).restart(name)


@stack.command()
@click.option("--api", "apis", multiple=True, required=True, metavar="URL", help="A replica of the API; give it again for more.")
@click.option("--collection", "collections", multiple=True, metavar="URL", help="A replica of the collection API.")
@click.option("--query", "queries", multiple=True, metavar="URL", help="A replica of the query service.")
@click.option("--port", type=click.IntRange(1, 65_535), help="Where to listen; a free port that is remembered, by default.")
@click.pass_obj
def nginx(environ: Mapping[str, str], apis: Sequence[str], collections: Sequence[str], queries: Sequence[str], port: int | None) -> None:
    """Start this machine's nginx in front of replicas, with the deployed configuration; prints its address.

    It is a process of the home: `millrace stack status` shows it and `millrace stack down` stops it. Without --collection or --query the
    paths of those answer 502.

    \b
    Example:
      millrace stack nginx --api http://127.0.0.1:8001 --api http://127.0.0.1:8002
    """
    given = {"api": apis, "collection": collections, "query": queries}
    upstreams = {name: [local_nginx.address(url) for url in urls] for name, urls in given.items()}
    chosen = StackSettings.load(environ).chosen_ports() | ({local_nginx.NAME: port} if port else {})
    owned = local_nginx.start(home_of(environ), upstreams, chosen)
    _say(f"{owned.name} is ready (pid {owned.pid})")
    echo(f"http://127.0.0.1:{owned.port}")


@stack.command()
@click.argument("name")
@click.pass_obj
def kill(environ: Mapping[str, str], name: str) -> None:
    """Send SIGKILL to a server or tier, to see what happens; `millrace stack up` recovers a server."""
    if not _open(environ).processes.kill(name):
        raise StackError(f"{name} does not run in {home_of(environ).path}")
    _say(f"{name} was killed")


def _print(found: list[Health]) -> None:
    table = Table(box=None)
    for column in ("name", "state", "pid", "port", "memory", "uptime"):
        table.add_column(column, justify="left" if column in ("name", "state") else "right")
    for each in found:
        memory = f"{each.rss_bytes / 2**20:.0f} MB" if each.rss_bytes is not None else ""
        uptime = f"{each.uptime_seconds:.0f} s" if each.uptime_seconds is not None else ""
        table.add_row(each.name, each.state, str(each.pid or ""), str(each.port or ""), memory, uptime)
    total = sum(each.rss_bytes or 0 for each in found)
    table.add_row("all", "", "", "", f"{total / 2**20:.0f} MB", "")
    Console(file=sys.stdout, width=100).print(table)


def _print_log(path: Path, lines: int, follow: bool) -> None:
    with path.open(errors="replace") as file:
        for line in deque(file, maxlen=max(lines, 0)):
            echo(line, nl=False)
        while follow:
            if line := file.readline():
                echo(line, nl=False)
            else:
                time.sleep(0.2)
