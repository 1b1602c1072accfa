"""The demo from the first server to the last payment."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType

from millrace_contracts import exit_codes
from millrace_contracts.settings import NamesSettings
from millrace_stack.demo import baskets
from millrace_stack.demo.jobs import Jobs
from millrace_stack.demo.pipeline import Pipeline
from millrace_stack.demo.replay import anchor, present, replay
from millrace_stack.demo.screen import Screen
from millrace_stack.demo.trickle import trickle
from millrace_stack.errors import StackError
from millrace_stack.home import Home
from millrace_stack.truth.answers import Api
from millrace_stack.truth.cli import check, operator_token, show
from millrace_stack.truth.mongo import MongoTruth

SHOWN = timedelta(days=14)
"""What the demo's curl line asks for."""


@dataclass(frozen=True)
class Options:
    """What the person asked for."""

    check: bool = False
    limit: int | None = None
    rate: float = 2.0
    sample: int = 20
    wait: float = 300.0
    jobs_every: float = 300.0


def run(home: Home, environ: Mapping[str, str], options: Options, screen: Screen) -> int:
    """Exit code: 0, 1 when the check finds a difference, 130 when a check was interrupted. Everything is stopped when it returns.

    Raises:
        StackError: something did not start or was refused.
    """
    previous = {each: signal.signal(each, _interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    pipeline = Pipeline(home, environ, screen)
    try:
        with pipeline:
            try:
                return _inside(pipeline, options, screen)
            finally:
                _deaf()  # a further Ctrl-C must not leave half of it running
                screen.say("Stopping …")
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED if options.check else exit_codes.OK
    finally:
        screen.say("Stopped.")
        for each, handler in previous.items():
            signal.signal(each, handler)


def _inside(pipeline: Pipeline, options: Options, screen: Screen) -> int:
    with screen.step("Reading a year of retail baskets"):
        commands = baskets.commands(anchor(pipeline.home), options.limit)
    settings = pipeline.settings()
    there = pipeline.insist(lambda: present(settings["MILLRACE_MONGO_TRUTH_URI"], NamesSettings.load(settings).database))
    replay(commands, there, pipeline.client, screen, pipeline.stopped)
    if options.check:
        with screen.step("Comparing with MongoDB"):
            result = check(settings, options.sample, options.wait)
        show(result)
        return exit_codes.OK if result.equal else exit_codes.DIFFERENT
    _show_around(pipeline, commands, options, screen)
    with _jobs(pipeline, options.jobs_every, screen):
        trickle(commands, pipeline.client(), options.rate, pipeline.stopped)
    return exit_codes.OK


@contextmanager
def _jobs(pipeline: Pipeline, every: float, screen: Screen) -> Iterator[None]:
    """The jobs over closed days, from when the reports hold the year: before, there would be no hour and no day to count."""
    if not every:
        yield
        return
    settings = pipeline.settings()
    truth = MongoTruth(settings["MILLRACE_MONGO_TRUTH_URI"], NamesSettings.load(settings).database)
    api = Api(settings["MILLRACE_API_URL"], operator_token(settings), patience=0.0)  # a stop must not wait for it
    target: datetime | None = None

    def year_is_in() -> bool:
        nonlocal target
        try:
            target = target or truth.last_write()
            through = api.complete_through()
        except StackError:
            return False
        return through is not None and through >= target + timedelta(seconds=1)

    with closing(truth), closing(api), Jobs(pipeline.home, every, screen.say, begin=year_is_in):
        yield


def _show_around(pipeline: Pipeline, commands: baskets.Commands, options: Options, screen: Screen) -> None:
    settings = pipeline.settings()
    now = baskets.utc_now()
    merchant = busiest(commands, now)
    token = pipeline.millrace("token", "--merchant", merchant).strip()
    api = settings["MILLRACE_API_URL"]
    for line in (
        "",
        f"GraphiQL          {api}/graphiql",
        f"REST docs         {api}/docs",
        f"Collection API    {settings['MILLRACE_COLLECTION_URL']}",
        f"Kafka Connect     {settings.get('MILLRACE_CONNECT_URL', '')}/connectors",
        f"Logs              {pipeline.home.path / 'logs'}",
        "",
        f"A token for {merchant}, good for a day:",
        token,
        "",
        "Its last two weeks:",
        curl_line(api, token, merchant, commands.merchants[merchant]["currency"], now),
        "",
        f"{options.rate:g} live payments a second until Ctrl-C …",
    ):
        screen.say(line)


def busiest(commands: baskets.Commands, now: datetime) -> str:
    """The merchant with the most payments, of those that have some in what the curl line shows: the last two weeks, its own currency."""
    payments: Counter[str] = Counter(payment["merchantId"] for payment in commands.payments)
    since, until = ((now - SHOWN).timestamp() * 1000, now.timestamp() * 1000)
    shown = {
        payment["merchantId"]
        for payment in commands.payments
        if since <= payment["paidAt"] <= until and payment["currency"] == commands.merchants[payment["merchantId"]]["currency"]
    }
    return max(payments, key=lambda name: (name in shown, payments[name], name))


def curl_line(api: str, token: str, merchant: str, currency: str, now: datetime) -> str:
    """A command that works when pasted: the totals of the merchant's last fourteen days, and each window in which something happened.

    It names the currency, as the merchant's own is not known before Debezium has brought the merchant.
    """
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    start = end - SHOWN
    variables = {"m": merchant, "c": currency, "s": f"{start:%Y-%m-%dT%H:%M:%SZ}", "e": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    query = (
        "query($m: ID!, $c: String!, $s: DateTime!, $e: DateTime!) "
        "{ series(merchantId: $m, currency: $c, start: $s, end: $e, sparse: true) "
        "{ currency totals { payments gross refundedAmount customers } points { start payments gross } freshness { completeThrough } } }"
    )
    body = json.dumps({"query": query, "variables": variables})
    return f"curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{body}' {api}/graphql"


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _deaf()
    raise KeyboardInterrupt


def _deaf() -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
