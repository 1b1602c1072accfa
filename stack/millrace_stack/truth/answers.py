"""What the GraphQL API answers, asked as any client would ask."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from millrace_contracts.values.instants import parse_instant
from millrace_stack.errors import StackError
from millrace_stack.truth.mongo import Figures

_SERIES = """query($m: ID!, $s: DateTime!, $e: DateTime!, $c: String) {
 series(merchantId: $m, start: $s, end: $e, currency: $c, sparse: true) { %s } }"""
_FIGURES = "payments gross refunds refundedAmount customers"
_TOTALS = _SERIES % f"currencies totals {{ {_FIGURES} }}"
_WINDOWS = _SERIES % f"points {{ start {_FIGURES} }}"
_FRESHNESS = "{ freshness { completeThrough asOf } }"
_LONGEST = timedelta(days=360)
"""The API takes at most 400 days of a sparse series at once."""
_WINDOW = timedelta(minutes=10)
PATIENCE_SECONDS = 120.0
"""A report store that was killed is back by then."""
UNAVAILABLE = "UNAVAILABLE"
"""The code of an error that says: try again in some seconds."""


class Api:
    """The GraphQL API as an operator's token sees it; ``patience``: seconds in which it is asked again while it does not answer."""

    def __init__(self, url: str, token: str, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60.0, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def complete_through(self) -> datetime | None:
        """How far the answers are complete; None before the first batch (I13)."""
        text = self.query(_FRESHNESS)["freshness"]["completeThrough"]
        return None if text is None else instant(text)

    def currencies(self, merchant: str, start: datetime, end: datetime) -> set[str]:
        """Every currency of a merchant in a range."""
        found: set[str] = set()
        for first, last in _pieces(start, end):
            series = self.query(_TOTALS, m=merchant, s=_text(first), e=_text(last), c="USD")["series"]
            found |= set(series["currencies"])
        return found

    def totals(self, merchant: str, currency: str, start: datetime, end: datetime) -> Figures | None:
        """Totals of a range; None where the range is too long for one answer, since distinct customers cannot be added up."""
        pieces = _pieces(start, end)
        if len(pieces) != 1:
            return None
        totals = self.query(_TOTALS, m=merchant, s=_text(start), e=_text(end), c=currency)["series"]["totals"]
        return Figures(totals["payments"], int(totals["gross"]), totals["refunds"], int(totals["refundedAmount"]), totals["customers"])

    def windows(self, merchant: str, currency: str, start: datetime, end: datetime) -> dict[datetime, Figures]:
        """Every window in which something happened, by start."""
        found: dict[datetime, Figures] = {}
        for first, last in _pieces(start, end):
            points = self.query(_WINDOWS, m=merchant, s=_text(first), e=_text(last), c=currency)["series"]["points"]
            columns = (points[name] for name in ("start", "payments", "gross", "refunds", "refundedAmount", "customers"))
            for at, payments, gross, refunds, refunded, customers in zip(*columns, strict=True):
                figures = Figures(payments, int(gross), refunds, int(refunded), customers)
                # A window whose last fact was retracted holds zeros, as a window without facts does.
                if figures != Figures():
                    found[instant(at)] = figures
        return found

    def query(self, document: str, **variables: Any) -> dict[str, Any]:
        """Data of a query; waits and asks again where the API or its report store is starting or asks for patience.

        Raises:
            StackError: it does not answer within the patience, or answers with other errors.
        """
        deadline = time.monotonic() + self._patience
        while True:
            data, problem = self._ask(document, variables)
            if data is not None:
                return data
            if time.monotonic() > deadline:
                raise StackError(f"{self._http.base_url}: the API does not answer ({problem}); see its log")
            time.sleep(0.5)

    def _ask(self, document: str, variables: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The data, or why to ask again."""
        try:
            response = self._http.post("/graphql", json={"query": document, "variables": variables})
        except httpx.TransportError as error:
            return None, f"{type(error).__name__} {error}"
        said = f"HTTP {response.status_code}: {response.text[:300]}"
        if response.status_code in (429, 502, 503, 504):
            return None, said
        try:
            body = response.json()
        except ValueError:
            raise StackError(f"{self._http.base_url}: {said}") from None
        errors = body.get("errors") or []
        if errors and all(error.get("extensions", {}).get("code") == UNAVAILABLE for error in errors):
            return None, said
        if errors or not body.get("data"):
            raise StackError(f"{self._http.base_url}: HTTP {response.status_code}: {str(errors or body)[:500]}")
        return body["data"], ""


def instant(text: str) -> datetime:
    """An RFC 3339 instant in UTC."""
    return parse_instant(text)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pieces(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    pieces = []
    while start < end:
        last = min(end, start + _LONGEST) if end - start > _LONGEST + timedelta(days=40) else end
        pieces.append((start, last))
        start = last
    return pieces


def bounds(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """The windows that hold both instants, as [start, end)."""
    floor = (first - datetime(1970, 1, 1, tzinfo=UTC)) // _WINDOW * _WINDOW
    ceiling = ((last - datetime(1970, 1, 1, tzinfo=UTC)) // _WINDOW + 1) * _WINDOW
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + floor, epoch + ceiling
