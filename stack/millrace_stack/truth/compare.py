"""Compare the API's answers with MongoDB's own, and name every difference."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from millrace_contracts.sketches import THETA_STANDARD_ERROR
from millrace_stack.truth.answers import Api, bounds
from millrace_stack.truth.mongo import Figures, MongoTruth

EXACT_CUSTOMERS = 4096
"""Up to here the sketch is exact; above, five standard errors are allowed."""
ROUNDS = 3
"""Merchants that differ are read again at least so often: while payments go on, both sides move between the two readings …"""
MOST_ROUNDS = 12
"""… and at most so often, as long as the differences move too."""


@dataclass(frozen=True)
class Difference:
    """One figure that is not what MongoDB says. ``window`` is empty for totals over the whole time."""

    merchant: str
    currency: str
    window: str
    figure: str
    truth: int
    answer: int

    def __str__(self) -> str:
        where = f"window {self.window}" if self.window else "total"
        return f"{self.merchant} {self.currency} {where}: {self.figure} is {self.answer:,}, MongoDB has {self.truth:,}"


@dataclass
class Comparison:
    """What was compared and what differs."""

    totals: int = 0
    windows: int = 0
    merchants: int = 0
    sampled: list[str] = field(default_factory=list)
    sums: Figures = field(default_factory=Figures)
    """Over all merchants and currencies, as MongoDB has it; ``customers`` is not additive and stays 0."""
    differences: list[Difference] = field(default_factory=list)
    complete_through: datetime | None = None
    last_write: datetime | None = None

    @property
    def equal(self) -> bool:
        """Whether everything is equal."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "equal": self.equal,
            "merchants": self.merchants,
            "totals": self.totals,
            "windows": self.windows,
            "sampledMerchants": self.sampled,
            "payments": self.sums.payments,
            "gross": str(self.sums.gross),
            "refunds": self.sums.refunds,
            "refundedAmount": str(self.sums.refunded),
            "lastWrite": self.last_write.isoformat() if self.last_write else None,
            "completeThrough": self.complete_through.isoformat() if self.complete_through else None,
            "differences": [difference.__dict__ for difference in self.differences],
        }


def differences(truth: Figures, answer: Figures, merchant: str, currency: str, window: str = "") -> list[Difference]:
    """Counts and sums must be equal; distinct customers within the sketch's stated error."""
    found = []
    for each in fields(Figures):
        expected, given = getattr(truth, each.name), getattr(answer, each.name)
        allowed = 5 * THETA_STANDARD_ERROR * expected if each.name == "customers" and expected > EXACT_CUSTOMERS else 0
        if abs(expected - given) > allowed:
            found.append(Difference(merchant, currency, window, each.name, expected, given))
    return found


def sample(merchants: Collection[str], size: int) -> list[str]:
    """The merchants whose hash is smallest: the same ones on every machine."""
    return sorted(sorted(merchants, key=lambda name: hashlib.sha256(name.encode()).digest())[:size])


def wait_until_complete(api: Api, target: datetime, seconds: float, tell: Callable[[datetime | None], None]) -> datetime | None:
    """Wait, at most so long, until the answers hold everything up to ``target``; how far they are then."""
    deadline = time.monotonic() + seconds
    while True:
        through = api.complete_through()
        # completeThrough has whole seconds: only the next second proves that the last one is in entirely.
        if through is not None and through >= target + timedelta(seconds=1):
            return through
        if time.monotonic() > deadline:
            return through
        tell(through)
        time.sleep(0.5)


def compare(truth: MongoTruth, api: Api, sample_size: int, wait: float, tell: Callable[[str], None]) -> Comparison:
    """The whole check.

    Raises:
        StackError: MongoDB or the API does not answer.
    """
    result = Comparison()
    merchants = truth.merchants()
    result.merchants, result.sampled = len(merchants), sample(merchants, sample_size)
    suspects = merchants
    for turn in range(MOST_ROUNDS):
        result.last_write = truth.last_write()
        result.complete_through = wait_until_complete(
            api, result.last_write, wait, lambda through: tell(f"waiting: complete through {through or 'nothing yet'}")
        )
        if result.complete_through is None or result.complete_through <= result.last_write:
            tell(f"not complete after {wait:.0f} s: complete through {result.complete_through}, last write {result.last_write}")
        found, totals, windows, sums = _round(truth, api, suspects, [name for name in result.sampled if name in set(suspects)], tell)
        if turn == 0:
            result.totals, result.windows, result.sums = totals, windows, sums
        before, result.differences = result.differences, found
        suspects = sorted({difference.merchant for difference in found})
        if not suspects or (turn + 1 >= ROUNDS and found == before):
            break
    return result


def _round(
    truth: MongoTruth, api: Api, merchants: list[str], sampled: list[str], tell: Callable[[str], None]
) -> tuple[list[Difference], int, int, Figures]:
    span = truth.span()
    if span is None:
        return [], 0, 0, Figures()
    start, end = bounds(*span)
    tell("aggregating in MongoDB")
    totals, windows = truth.totals(merchants), truth.windows(sampled)
    tell(f"asking the API for the totals of {len(merchants)} merchants")
    found: list[Difference] = []
    with ThreadPoolExecutor(4) as pool:
        for part in pool.map(lambda name: _totals(api, name, totals, start, end), merchants):
            found += part
        tell(f"asking the API for every window of {len(sampled)} merchants")
        for part in pool.map(lambda name: _windows(api, name, windows, start, end), sampled):
            found += part
    sums = _added(totals.values(), 0)
    return found, len(totals), len(windows), sums


def _totals(api: Api, merchant: str, totals: Mapping[tuple[str, str], Figures], start: datetime, end: datetime) -> list[Difference]:
    found: list[Difference] = []
    for currency in _currencies(totals, merchant) | api.currencies(merchant, start, end):
        answer = api.totals(merchant, currency, start, end)
        expected = totals.get((merchant, currency), Figures())
        if answer is None:
            answer = _added(api.windows(merchant, currency, start, end).values(), expected.customers)
        found += differences(expected, answer, merchant, currency)
    return found


def _added(windows: Iterable[Figures], customers: int) -> Figures:
    payments = gross = refunds = refunded = 0
    for each in windows:
        payments, gross = payments + each.payments, gross + each.gross
        refunds, refunded = refunds + each.refunds, refunded + each.refunded
    return Figures(payments, gross, refunds, refunded, customers)


def _windows(
    api: Api, merchant: str, windows: Mapping[tuple[str, str, datetime], Figures], start: datetime, end: datetime
) -> list[Difference]:
    found: list[Difference] = []
    for currency in _currencies(windows, merchant) | api.currencies(merchant, start, end):
        answers = api.windows(merchant, currency, start, end)
        expected = {key[2]: figures for key, figures in windows.items() if key[:2] == (merchant, currency)}
        for at in sorted({*answers, *expected}):
            found += differences(expected.get(at, Figures()), answers.get(at, Figures()), merchant, currency, at.isoformat())
    return found


def _currencies(figures: Iterable[tuple[Any, ...]], merchant: str) -> set[str]:
    return {key[1] for key in figures if key[0] == merchant}
