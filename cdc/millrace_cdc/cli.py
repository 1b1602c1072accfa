"""``millrace relay``: capture the payments of MongoDB into Kafka, exactly once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
import orjson
import structlog

from millrace_cdc.asking import ask, waiting
from millrace_cdc.errors import RelayError
from millrace_cdc.letters_cli import dead_letters
from millrace_cdc.migrating import migrate
from millrace_cdc.projection import Share
from millrace_cdc.replay.points import AGO
from millrace_cdc.reporting import AS_JSON, reported
from millrace_cdc.running import Configuration, run_stream, run_streams
from millrace_cdc.skipping import skip
from millrace_cdc.starting import start_from
from millrace_cdc.status import status, table
from millrace_contracts import exit_codes
from millrace_runtime.logs import configure
from millrace_runtime.scheduling import schedule
from millrace_runtime.screen import echo
from millrace_runtime.stopping import StopSignal


@click.group()
def relay() -> None:
    """Capture payments from MongoDB's change stream into Kafka, exactly once.

    \b
    millrace relay run                    capture until SIGTERM or Ctrl-C
    millrace relay run --ops-port 9464    with /health, /ready and /metrics there
    millrace relay run --streams 4        in four parallel streams
    millrace relay migrate --streams 4    change the number of streams without loss
    millrace relay start-from -2h         begin at a point and not with a snapshot
    millrace relay status                 positions, lag, runway, gaps
    millrace relay snapshot --filter '{"merchantId": "m1"}'
    millrace relay dead-letters list      what could not be sent, and why
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
    schedule(settings.runtime)
    structlog.contextvars.bind_contextvars(collection=settings.namespace)
    stop = StopSignal().install()
    with reported(), _logged():
        if stream is None and (count > 1 or shared):
            run_streams(settings, count, ops_port, stop, environ, shared=shared)
        else:
            run_stream(settings, Share(stream or 0, count), ops_port, stop, child=child)
    structlog.get_logger().info("relay stopped")
    return exit_codes.OK


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except RelayError as error:
        structlog.get_logger().error("relay ended", error=str(error), exit_code=error.exit_code)
        raise


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
    with reported():
        done = migrate(settings, streams, StopSignal())
    if as_json:
        echo(orjson.dumps(done))
    else:
        echo(f"{done['namespace']}: {done['before']} streams before, {done['after']} now, going on from {done['lowest']}")
    return exit_codes.OK


class PointCommand(click.Command):
    """A command whose argument may be ``-2h``, which is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put times of that form behind the options."""
        ago = [arg for arg in args if AGO.fullmatch(arg)]
        rest = [arg for arg in args if arg not in ago]
        return super().parse_args(ctx, [*rest, "--", *ago] if ago else rest)


@relay.command("start-from", cls=PointCommand)
@click.argument("point")
@click.option("--streams", type=click.IntRange(1, 64), help="The number of streams; as it is, or MILLRACE_RELAY_STREAMS, without it.")
@click.option("--replace", is_flag=True, help="Give up the progress that there is.")
@AS_JSON
@click.pass_obj
def start_from_command(environ: Mapping[str, str], point: str, streams: int | None, replace: bool, as_json: bool) -> int:
    """Let the next `millrace relay run` begin at POINT, without a snapshot.

    POINT is as of `millrace replay`: a resume token (behind its change), a cluster time, a wall-clock time, -2h, now, oldest or a
    bookmark; it is checked against the cluster. Refused where there is progress, unless --replace says so: changes between that
    progress and the point are then passed over, or are sent again (which changes no result). The audit topic records it.

    \b
    Examples:
      millrace relay start-from 826B06E671000000012B02…
      millrace relay start-from 2026-11-25T13:00:00Z --streams 4
      millrace relay start-from before-migration --replace
    Exit codes: 0 done, 2 refused, 3 a server is away, 4 a relay was started meanwhile, 5 the oplog no longer reaches back.
    """
    with reported():
        done = start_from(Configuration.load(environ), point, streams, replace, StopSignal())
    text = f"{done['collection']}: {done['streams']} streams begin at {done['words']}; `millrace relay snapshot` sends what is older"
    echo(orjson.dumps(done) if as_json else text)
    return exit_codes.OK


@relay.command("status")
@AS_JSON
@click.pass_obj
def status_command(environ: Mapping[str, str], as_json: bool) -> int:
    """Show every stream's position and how old it is, how long the relay may be down, snapshots, gaps and dead letters.

    Exit code 0 when all is well, 1 when a gap is open, history is lost or the pipeline differs from the saved one.
    """
    with reported():
        found = status(Configuration.load(environ))
    echo(orjson.dumps(found) if as_json else table(found))
    bad = [stream for stream in found["streams"] if stream["historyLost"] or (stream["gap"] and stream["gap"]["to"] is None)]
    return exit_codes.DIFFERENT if bad or not found["fingerprintMatches"] else exit_codes.OK


@relay.command("snapshot")
@click.option("--filter", "filter_json", help="Which documents, as a MongoDB filter in extended JSON; all without it.")
@click.option("--wait", is_flag=True, help="Come back when it is done.")
@AS_JSON
@click.pass_obj
def snapshot_command(environ: Mapping[str, str], filter_json: str | None, wait: bool, as_json: bool) -> int:
    """Ask the running relay to send documents as they are now (op r), between its changes.

    \b
    Example: millrace relay snapshot --filter '{"merchantId": "m1"}' --wait
    """
    settings = Configuration.load(environ)
    with reported():
        request_id = ask(settings, filter_json)
        while wait and waiting(settings, request_id):
            time.sleep(0.5)
    echo(orjson.dumps({"id": request_id, "done": wait}) if as_json else f"{'done' if wait else 'asked for'}: {request_id}")
    return exit_codes.OK


@relay.command("skip")
@click.argument("token")
@click.option("--reason", required=True, help="Why; it is kept in the dead letter.")
@click.pass_obj
def skip_command(environ: Mapping[str, str], token: str, reason: str) -> int:
    """Go past one change on purpose, where the relay has stopped at one that MongoDB can not send (over 16 MB).

    A dead letter names the token; nothing else is gone past: a token that is not the next change of a stream is refused.
    Stop the relay first, start it again after.

    \b
    Example: millrace relay skip 826B06E671000000012B02… --reason "18 MB, document was split by hand"
    """
    with reported():
        echo(skip(Configuration.load(environ), token, reason))
    return exit_codes.OK


relay.add_command(dead_letters)
