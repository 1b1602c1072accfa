"""``millrace replay``: send changes of the past again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace as replaced
from datetime import UTC, datetime

import click
from confluent_kafka import Producer

from millrace_cdc.errors import Misconfigured
from millrace_cdc.mongo import now_ms
from millrace_cdc.replay import screen
from millrace_cdc.replay.keystrings import instant
from millrace_cdc.replay.points import parse
from millrace_cdc.replay.records import Filter, Replay, new_id, replays, unfinished
from millrace_cdc.replay.run import Runner
from millrace_cdc.replay.session import Session, session, show_json
from millrace_cdc.replay.sinks import DrySink, ReplaySink, target_topic
from millrace_cdc.reporting import AS_JSON
from millrace_cdc.sink import producer_config
from millrace_contracts import exit_codes
from millrace_runtime.screen import echo
from millrace_runtime.stopping import StopSignal

TRANSACTION_TIMEOUT_MS = 10_000
"""The shortest that the relay's settings allow: an open transaction of a killed replay holds up every reader of its topics."""


@click.command()
@click.option("--from", "start", metavar="POINT", help="Where to begin.")
@click.option("--to", "end", metavar="POINT", default="now", show_default=True, help="Where to end, that change included.")
@click.option("--collection", metavar="NAME", help="payments by default.")
@click.option(
    "--merchant", "merchants", multiple=True, metavar="ID", help="Only payments of this merchant, before or after the change; repeatable."
)
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this document; repeatable.")
@click.option("--topic", metavar="NAME", help="A topic of the replay's own, made where it is missing; the live topic without it.")
@click.option("--rate", type=click.IntRange(0), default=0, metavar="N", help="Events a second at most.")
@click.option("--dry-run", is_flag=True, help="Count and sample what would be sent; send nothing.")
@click.option("--resume", metavar="ID", help="Go on with a replay that was stopped or killed.")
@click.option("--list", "listing", is_flag=True, help="List the replays.")
@AS_JSON
@click.pass_obj
def replay(
    environ: Mapping[str, str],
    start: str | None,
    end: str,
    collection: str | None,
    merchants: tuple[str, ...],
    ids: tuple[str, ...],
    topic: str | None,
    rate: int,
    dry_run: bool,
    resume: str | None,
    listing: bool,
    as_json: bool,
) -> int:
    """Send changes of the past again, from MongoDB's oplog.

    Every event is the one that the relay sent, with the header millrace-replay; versions are the same, so results do not change (I5).

    \b
    A POINT is one of
      now, oldest              the newest change, the beginning of the oplog
      2026-11-25T13:00:00Z     a wall-clock time; -90m, -2h, -1d: so long ago
                               (on a replica set that is younger: from its first change on)
      1795600000.3             a cluster time, seconds and ordinal
      826B06E316000000022B…    behind the change with this resume token
      before-migration         a bookmark, see `millrace bookmark`
    \b
    Examples:
      millrace replay --from -2h --dry-run
      millrace replay --from before-migration --merchant m1 --rate 2000
      millrace replay --from 2026-11-25T13:00:00Z --to 2026-11-25T14:00:00Z --topic look-again
      millrace replay --resume 20261125T141500-a1b2
    Exit codes: 0 done, 2 a wrong point or setting, 3 a server stayed away, 4 the same replay runs elsewhere,
    5 the oplog no longer reaches back, 130 stopped before the end.
    """
    if sum([start is not None, resume is not None, listing]) != 1:
        raise click.UsageError("give exactly one of --from, --resume and --list")
    with session(environ, collection, "replay") as opened:
        if listing:
            return _list(opened, as_json)
        if resume is not None:
            return _resume(opened, resume, as_json)
        made, facts = _make(opened, start or "", end, Filter(merchants, ids), topic, rate)
        if dry_run:
            return _dry_run(opened, made, facts, as_json)
        return _begin(opened, made, as_json)


def _make(opened: Session, start: str, end: str, chosen: Filter, topic: str | None, rate: int) -> tuple[Replay, dict[str, str]]:
    """The replay that the options mean, checked against the server, and its facts for a person."""
    now = time.time()
    reach = opened.history.reach()
    first = opened.history.find("--from", parse("--from", start, now), reach)
    last = opened.history.find("--to", parse("--to", end, now), reach)
    if last.at < first.at:
        raise Misconfigured(f"--to: {last.words} lies before --from: {first.words}")
    name = topic or opened.capture.topics.changes
    made = Replay(new_id(datetime.now(UTC)), first.token, first.at, last.token, last.at, name, chosen, rate, now_ms())
    return made, {"from": first.words, "to": last.words, "filter": chosen.words(), "topic": name, "reach": reach.words()}


def _dry_run(opened: Session, made: Replay, facts: Mapping[str, str], as_json: bool) -> int:
    sink, stop = DrySink(), StopSignal().install()
    with screen.Bar(made) as bar:
        ended = Runner(opened.capture, opened.client, sink, opened.settings.relay, replaced(made, rate=0), stop, bar).run()
    if not ended.finished:
        return exit_codes.INTERRUPTED
    answer = screen.dry_run_json(sink, ended.seconds, made.rate, facts)
    _tell(answer, screen.dry_run_text, as_json)
    return exit_codes.OK


def _resume(opened: Session, replay_id: str, as_json: bool) -> int:
    stop = StopSignal().install()
    sink = _fenced(opened, replay_id, stop)
    return _run(opened, sink, unfinished(opened.namespace, opened.records(), replay_id), stop, as_json)


def _begin(opened: Session, made: Replay, as_json: bool) -> int:
    stop = StopSignal().install()
    return _run(opened, _fenced(opened, made.id, stop), made, stop, as_json)


def _fenced(opened: Session, replay_id: str, stop: StopSignal) -> ReplaySink:
    """The sink of a replay, its id taken over FIRST: a killed predecessor's open transaction ends here, a living one is fenced (I3)."""
    settings = opened.settings
    own = transactional_id(opened, replay_id)
    config = producer_config(settings.kafka, own, TRANSACTION_TIMEOUT_MS, opened.capture.max_message_bytes)
    patience, topics = settings.relay.retry_seconds, opened.capture.topics
    sink = ReplaySink(lambda: Producer(config), topics, own, patience, lambda: stop.is_set, replay_id)
    sink.fence()
    return sink


def transactional_id(opened: Session, replay_id: str) -> str:
    """One writer a replay."""
    return f"{opened.settings.names.topic_prefix}.replay.{opened.namespace}.{replay_id}"


def _run(opened: Session, sink: ReplaySink, made: Replay, stop: StopSignal, as_json: bool) -> int:
    capture, settings = opened.capture, opened.settings
    sink.topics = target_topic(settings.kafka, settings.names, capture.topics, made.topic)
    echo(f"replay {made.id}: if it is stopped, `millrace replay --resume {made.id}` goes on", err=True)
    with screen.Bar(made) as bar:
        ended = Runner(capture, opened.client, sink, settings.relay, made, stop, bar).run()
    if as_json:
        show_json(screen.ended_json(ended))
    else:
        echo(screen.ended_text(ended))
    return exit_codes.OK if ended.finished else exit_codes.INTERRUPTED


def _list(opened: Session, as_json: bool) -> int:
    found = replays(opened.namespace, opened.records())
    if as_json:
        show_json([{"id": each.id, "topic": each.topic, "sent": each.sent, "finished": each.finished_ms is not None} for each in found])
        return exit_codes.OK
    for each in found:
        state = "ended" if each.finished_ms is not None else "unfinished"
        span = f"{instant(each.start_at[0])} to {instant(each.end_at[0])}"
        echo(f"{each.id}  {state:10}  {each.sent:>12,} events  {span}  {each.filter.words()} -> {each.topic}")
    if not found:
        echo("no replays", err=True)
    return exit_codes.OK


def _tell(answer: Mapping[str, object], text: Callable[[Mapping[str, object]], str], as_json: bool) -> None:
    if as_json:
        show_json(answer)
    else:
        echo(text(answer))
