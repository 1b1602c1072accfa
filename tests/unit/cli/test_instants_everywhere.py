"""Every parser of an instant, a day, a token or a cursor in every tier: hostile texts give a value or the tier's own refusal, nothing else.

A new parser of such texts is added to ``PARSERS`` (or ``COMMANDS``), whatever tier it is in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from graphql import GraphQLError, IntValueNode, StringValueNode
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.main import cli
from millrace_cdc import asking as snapshots
from millrace_cdc import tokens
from millrace_cdc.connect import offsets, offsets_cli
from millrace_cdc.connect.errors import RefusedError
from millrace_cdc.connect.http import handlers
from millrace_cdc.connect.http.problems import Problem
from millrace_cdc.errors import Misconfigured
from millrace_cdc.replay import keystrings, points
from millrace_cdc.tokens import BadToken
from millrace_collection import models
from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.http import cost
from millrace_graphql.rest import parameters
from millrace_graphql.schema.connection import from_cursor
from millrace_graphql.schema.scalars import BigInt, DateTime
from millrace_processors import kafka_part
from millrace_processors.errors import CommandError
from millrace_processors.jobs_cli import Instant
from millrace_processors.query import asking
from millrace_processors.query import cli as query_cli
from millrace_processors.query.errors import QueryError
from millrace_processors.query.settings import QuerySettings
from millrace_stack.demo import replay as demo
from millrace_stack.errors import StackError
from millrace_stack.home import Home
from tests.support.examples import examples
from tests.support.instant_texts import ALMOST_INSTANTS, NO_INSTANTS, OUT_OF_REACH

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PAYMENT = {"merchantId": "m1", "amount": 1, "currency": "EUR", "method": "card"}
TOKEN = "8269246C00000000012B022C0100296E5A1004" + "0" * 32 + "46"
SETTINGS = QuerySettings()


def _anchor(text: str, folder: Path) -> datetime:
    home = Home(folder)
    (folder / "demo.json").write_text(json.dumps({"now": text}))
    return demo.anchor(home)


def _context() -> Any:
    return click.Context(click.Command("any"))


PARSERS: dict[str, tuple[Callable[[str], Any], tuple[type[Exception], ...]]] = {
    "collection, paidAt": (lambda text: models.PaymentBody.model_validate({**PAYMENT, "paidAt": text}).paidAt, (ValidationError,)),
    "collection, refundedAt": (lambda text: models.RefundBody.model_validate({"amount": 1, "refundedAt": text}), (ValidationError,)),
    "collection, dateOfBirth": (lambda text: models.UserBody.model_validate({"dateOfBirth": text}), (ValidationError,)),
    "GraphQL, variable": (DateTime.parse_value, (GraphQLError,)),
    "GraphQL, literal": (lambda text: DateTime.parse_literal(StringValueNode(value=text)), (GraphQLError,)),
    "GraphQL, number": (lambda text: DateTime.parse_literal(IntValueNode(value=text)), (GraphQLError,)),
    "GraphQL, cost": (lambda text: cost._days({"start": text, "end": "2026-11-24T00:00:00Z"}), ()),
    "GraphQL, watermark": (BigInt.parse_value, (GraphQLError,)),
    "GraphQL, cursor": (lambda text: from_cursor("after", text), (InvalidArgumentError,)),
    "REST": (lambda text: parameters.instant({"start": text}, "start"), (InvalidArgumentError,)),
    "query, start": (lambda text: asking.question({"sql": "SELECT 1", "start": text}, SETTINGS, NOW), (QueryError,)),
    "query, end": (lambda text: asking.question({"sql": "SELECT 1", "end": text}, SETTINGS, NOW), (QueryError,)),
    "query run": (lambda text: query_cli._bound(_context(), click.Option(["--start"]), text), (click.BadParameter,)),
    "process, --start": (lambda text: Instant().convert(text, None, None), (click.BadParameter,)),
    "process, --token": (kafka_part.packed_time, (CommandError,)),
    "process, --offsets": (lambda text: kafka_part.of_records(None, f"0:{text}", "topic"), (CommandError,)),
    "replay, start-from, bookmark": (lambda text: points.parse("--from", text, NOW.timestamp()), (Misconfigured,)),
    "relay snapshot, --filter": (lambda text: snapshots.parsed(json.dumps({"paidAt": {"$date": text}})), (Misconfigured,)),
    "resume token": (tokens.position, (BadToken,)),
    "resume token, document key": (lambda text: keystrings.decode(TOKEN + text.encode("utf-8", "replace").hex()), (BadToken,)),
    "resume token, raw": (keystrings.decode, (BadToken,)),
    "connect, --resume-token": (offsets.at_token, (RefusedError,)),
    "connect, --cluster-time": (offsets_cli._time, (click.UsageError, RefusedError)),
    "connect, stored offset": (lambda text: offsets.in_words({"sec": text}), ()),
    "connect, stored token": (lambda text: offsets.in_words({"resume_token": text}), ()),
    "connect serve": (lambda text: handlers._offset({"clusterTime": {"seconds": text}}), (Problem, RefusedError)),
}
COMMANDS = (
    ("process", "audit", "--start"),
    ("process", "audit", "--end"),
    ("process", "reprocess", "--start"),
    ("process", "reprocess", "--end"),
    ("query", "run", "SELECT 1", "--start"),
    ("query", "run", "SELECT 1", "--end"),
)


@settings(deadline=None, max_examples=examples(50))
@given(st.one_of(ALMOST_INSTANTS, st.text(max_size=40), st.from_regex(r"-?[0-9]{1,30}[.smhd]?[0-9]{0,30}", fullmatch=True)))
@example("9" * 5_000)
@example("-" + "9" * 5_000 + "d")
@example("-99999999999d")
@example("9999999999.9999999999")
@example("²²")
@example("82+123456789012345")
@example("82 12_456789012345")
def test_a_text_is_a_value_or_the_tiers_own_refusal(text: str) -> None:
    for name, (parse, refusals) in PARSERS.items():
        try:
            parse(text)
        except refusals:
            pass
        except Exception as error:
            raise AssertionError(f"{name}: {text!r} raises {error!r}") from error


@pytest.mark.parametrize("text", ["2026-11-24T09:30:00Z", "2026-11-24t09:30:00z", "2026-11-24 18:30:00+09:00", "2016-12-31T23:59:60Z"])
def test_what_rfc_3339_has_is_the_same_instant_in_every_tier(text: str, tmp_path: Path) -> None:
    instant = datetime(2017, 1, 1, tzinfo=UTC) if "60" in text else datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    assert models.PaymentBody.model_validate({**PAYMENT, "paidAt": text}).paidAt == instant
    assert DateTime.parse_value(text) == parameters.instant({"start": text}, "start") == instant
    assert asking.question({"sql": "SELECT 1", "end": text}, SETTINGS, NOW).end == instant
    assert Instant().convert(text, None, None) == _anchor(text, tmp_path) == instant
    assert points.parse("--from", text, NOW.timestamp()).at == (int(instant.timestamp()), 0)


@pytest.mark.parametrize("text", NO_INSTANTS)
def test_what_rfc_3339_has_not_is_refused_by_every_tier(text: str, tmp_path: Path) -> None:
    short = {"2026-11-24T09:30:00"}
    for name in ("collection, paidAt", "GraphQL, variable", "REST", "query, end", "process, --start", "replay, start-from, bookmark"):
        if text in short and name in ("query, end", "process, --start"):
            continue
        parse, refusals = PARSERS[name]
        with pytest.raises(refusals):
            parse(text)
    if text not in short:
        with pytest.raises(StackError, match=r"demo\.json: now"):
            _anchor(text.encode("utf-8", "replace").decode(), tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", [*OUT_OF_REACH, "2026-W48-2", "2026-11-24T09:30:00,5Z", "20261124", "1969-12-31", "2100-01-02", "\udcff"])
def test_a_command_refuses_with_exit_code_2_and_the_options_name(command: tuple[str, ...], text: str) -> None:
    done = CliRunner().invoke(cli, [*command, text], obj={})
    assert (done.exit_code, done.exception.__class__) == (2, SystemExit)
    assert f"'{command[-1]}'" in done.output
    assert "out of reach" in done.output or "not an instant" in done.output
