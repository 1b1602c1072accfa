"""``millrace relay``: capture the payments of MongoDB into Kafka, exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
import orjson
import structlog

from millrace_cdc.errors import RelayError
from millrace_cdc.migrating import migrate
from millrace_cdc.projection import Share
from millrace_cdc.running import Configuration, run_stream, run_streams
from millrace_contracts import exit_codes
from millrace_runtime.logs import configure
from millrace_runtime.stopping import StopSignal

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")


class Failed(click.ClickException):
    """The relay ended with an error; its exit code says of which kind."""

    def __init__(self, error: RelayError) -> None:
        super().__init__(str(error))
        self.exit_code: int = error.exit_code  # type: ignore[misc]


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except RelayError as error:
        raise Failed(error) from None


@click.group()
def relay() -> None:
    """Capture payments from MongoDB's change stream into Kafka, exactly once.

    \b
    millrace relay run                    capture until SIGTERM or Ctrl-C
    millrace relay run --ops-port 9464    with /health, /ready and /metrics there
    millrace relay run --streams 4        in four parallel streams
    millrace relay migrate --streams 4    change the number of streams without loss
    """


@relay.command()
@click.option("--ops-port", type=click.IntRange(0, 65535), help="Port of /health, /ready and /metrics; 0 takes a free one.")
@click.option("--streams", type=click.IntRange(1, 64), help="Parallel streams of the collection; MILLRACE_RELAY_STREAMS (1) by default.")
@click.option("--stream", type=click.IntRange(0, 63), help="Run this one only (0 to streams - 1); the others run elsewhere.")
@click.option("--shared", is_flag=True, help="Share the streams with other machines by lease; a dead one's are taken over.")
@click.option("--child", is_flag=True, hidden=True)
@click.pass_obj
def run(environ: Mapping[str, str], ops_port: int | None, streams: int | None, stream: int | None, shared: bool, child: bool) -> int:
    """Capture until SIGTERM or Ctrl-C; the transaction in hand is finished first.

    The first start snapshots the collection, then follows its changes; a later one goes on where the last committed transaction ended.

    \b
    Examples:
      millrace relay run --ops-port 9464
      millrace relay run --streams 4 --shared       on each of several machines
      millrace relay run --streams 4 --stream 2     this one here, come what may
    Exit codes: 0 stopped, 2 a wrong setting or missing topic, 3 a server stayed away, 4 another relay took over,
    5 the oplog no longer reaches back, 6 any other failure.
    """
    settings = Configuration.load(environ)
    count = streams or settings.relay.streams
    if stream is not None and stream >= count:
        raise click.UsageError(f"--stream {stream}: there are {count} streams, numbered from 0; give --streams as well")
    if stream is not None and shared:
        raise click.UsageError("--shared chooses the streams by lease; leave --stream away")
    configure(settings.runtime, "relay")
    structlog.contextvars.bind_contextvars(collection=settings.namespace)
    stop = StopSignal().install()
    try:
        if stream is None and (count > 1 or shared):
            run_streams(settings, count, ops_port, stop, environ, shared=shared)
        else:
            run_stream(settings, Share(stream or 0, count), ops_port, stop, child=child)
    except RelayError as error:
        structlog.get_logger().error("relay ended", error=str(error), exit_code=error.exit_code)
        raise Failed(error) from None
    structlog.get_logger().info("relay stopped")
    return exit_codes.OK


@relay.command("migrate")
@click.option("--streams", type=click.IntRange(1, 64), help="The new number of streams; unchanged without it.")
@AS_JSON
@click.pass_obj
def migrate_command(environ: Mapping[str, str], streams: int | None, as_json: bool) -> int:
    """Accept a changed pipeline: another number of streams, other captured fields, more partitions of the topic.

    Running relays of the collection are fenced (exit code 4); start them again with the new setting. Nothing is lost, repeated or
    reordered by a new number of streams: each starts at the lowest position and leaves out what the old ones had written.

    \b
    Example: millrace relay migrate --streams 4 && millrace relay run --streams 4
    """
    settings = Configuration.load(environ)
    with _reported():
        done = migrate(settings, streams, StopSignal())
    if as_json:
        click.echo(orjson.dumps(done))
    else:
        click.echo(f"{done['namespace']}: {done['before']} streams before, {done['after']} now, going on from {done['lowest']}")
    return exit_codes.OK
