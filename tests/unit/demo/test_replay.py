"""Resuming a replay, live payments and the curl line."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from millrace_stack.demo.baskets import Commands
from millrace_stack.demo.replay import Present, anchor, missing
from millrace_stack.demo.run import busiest, curl_line
from millrace_stack.demo.trickle import live
from millrace_stack.home import Home

PAYMENTS: list[dict[str, Any]] = [
    {"op": "payment", "id": "a", "merchantId": "m", "paidAt": 1},
    {"op": "payment", "id": "b", "merchantId": "n", "paidAt": 2},
    {"op": "payment", "id": "c", "merchantId": "n", "paidAt": 3},
]
REFUNDS: list[dict[str, Any]] = [{"op": "refund", "paymentId": "a", "id": "r1", "refundedAt": 9}]
COMMANDS = Commands({}, {}, PAYMENTS, REFUNDS)


def test_only_what_is_not_in_yet_is_sent() -> None:
    there = Present(payments={"a", "c"}, refunds=set())
    assert [line["id"] for line in missing(COMMANDS, there)] == ["b", "r1"]
    assert missing(COMMANDS, Present(payments={"a", "b", "c"}, refunds={("a", "r1")})) == []


def test_a_home_keeps_the_end_of_its_year(tmp_path: Path) -> None:
    first = anchor(Home(tmp_path))
    assert anchor(Home(tmp_path)) == first


def test_live_payments_have_ids_of_their_own_in_every_run_and_turn() -> None:
    first = [identifier for identifier, _ in islice(live(COMMANDS, 1), 6)]
    second = [identifier for identifier, _ in islice(live(COMMANDS, 2), 6)]
    assert len({*first, *second}) == 12
    assert all(len(identifier) == 22 for identifier in first)


def test_the_busiest_merchant_has_most_payments_of_those_that_the_curl_line_shows_something_of() -> None:
    def at(*days: float, currency: str = "USD") -> Commands:
        payments = [
            {"merchantId": name, "paidAt": day * 86_400_000, "currency": currency if name == "n" else "USD"}
            for name, day in zip("mnn", days, strict=True)
        ]
        return Commands({"m": {"currency": "USD"}, "n": {"currency": "USD"}}, {}, payments, [])

    now = datetime.fromtimestamp(100 * 86_400, UTC)
    assert busiest(at(90, 1, 92), now) == "n"
    assert busiest(at(90, 85, 85), now) == "m", "what is older is not shown"
    assert busiest(at(90, 101, 102), now) == "m", "nor what is yet to come"
    assert busiest(at(90, 91, 92, currency="EUR"), now) == "m", "nor another currency than the merchant's own"
    assert busiest(at(1, 2, 3), now) == "n", "unless there is nothing to show"


def test_the_curl_line_is_one_command_for_a_shell() -> None:
    words = shlex.split(curl_line("http://127.0.0.1:1", "TOKEN", "store-1", "USD", datetime(2026, 11, 24, 9, 41, tzinfo=UTC)))
    assert words[0] == "curl"
    assert "Authorization: Bearer TOKEN" in words
    assert words[-1] == "http://127.0.0.1:1/graphql"
    assert '"c": "USD"' in words[words.index("-d") + 1]
    assert '"s": "2026-11-10T10:00:00Z", "e": "2026-11-24T10:00:00Z"' in words[words.index("-d") + 1]
