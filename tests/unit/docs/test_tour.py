"""The README's question gives the README's answer: it is put to the real schema, over three reports made by hand."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from millrace_contracts.identity import TokenSettings
from millrace_contracts.windows import to_ms
from millrace_graphql.http.answers import Answers
from millrace_graphql.http.endpoint import GraphQLEndpoint
from millrace_graphql.http.persisted import PersistedQueries
from millrace_graphql.http.response_cache import ResponseCache
from millrace_graphql.identity import Authenticator
from millrace_graphql.ranges.changes import Changes
from millrace_graphql.ranges.columns import Group, Rows
from millrace_graphql.ranges.directory import Merchant, Progress
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.ranges.report_store import Rollups
from millrace_graphql.schema.query import build_schema
from millrace_graphql.settings import ApiSettings
from millrace_graphql.token_cli import make_token
from millrace_runtime.access_tokens import Door
from tests.unit.docs.pages import ROOT
from tests.unit.graphql_api.facts import reports
from tests.unit.graphql_api.test_http import Client

README = (ROOT / "README.md").read_text()
MERCHANT = "store-367"


def at(minute: int) -> int:
    return to_ms(datetime(2026, 11, 24, 12, minute, tzinfo=UTC))


# (start, currency) -> payments as (amount in cents, customer), refunds, failures
FACTS = {
    (at(0), "USD"): ([(1_999, 1), (450, 2)], [], 0),
    (at(20), "USD"): ([(1_250, 1)], [300], 1),
}


class Store:
    """Three windows of one merchant."""

    async def read(self, merchant_id: str, bucket: str, start_ms: int, end_ms: int, groups: frozenset[Group]) -> Rows:
        assert (merchant_id, bucket) == (MERCHANT, "2026-11")
        return {group: data.between(start_ms, end_ms) for group, data in reports(FACTS).items() if group in groups}

    async def packed(self, *asked: Any) -> dict[int, Rows]:
        raise AssertionError(asked)

    async def rollups(self, *asked: Any) -> Rollups:
        raise AssertionError(asked)


class Directory:
    """One merchant, and an analysis that is complete up to 12:25."""

    async def merchant(self, merchant_id: str) -> Merchant:
        return Merchant(merchant_id, "Store 367", currency="USD", time_zone="America/New_York")

    async def progress(self) -> Progress:
        return Progress(at(25), at(25))


def fenced(language: str, holding: str) -> str:
    return next(block for block in re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S) if holding in block)


def test_the_question_of_the_tour_gets_the_answer_of_the_tour(tmp_path: Path) -> None:
    settings, changes, directory = ApiSettings(), Changes(), Directory()
    queries = ReportQueries(Store(), directory, None, settings)  # type: ignore[arg-type]
    cache = ResponseCache(changes, settings.response_cache_bytes)
    token = make_token(tmp_path, "merchant", [MERCHANT], 60)
    door = Authenticator(Door(TokenSettings(jwks=str(tmp_path / "jwks.json"))))
    answers = Answers(build_schema(), queries, settings, cache, PersistedQueries(None, "t"), None)
    endpoint = GraphQLEndpoint(answers, cache, door, settings)
    client = Client(Starlette(routes=[Route("/graphql", endpoint)]), {"Authorization": f"Bearer {token}"})
    answer = client.post("/graphql", json={"query": fenced("graphql", MERCHANT)}).json()
    assert answer == json.loads(fenced("json", "freshness"))
