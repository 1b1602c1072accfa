"""Push: a merchant's changes as they are published, and how far the analysis has come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import graphene

from millrace_contracts.windows import from_ms
from millrace_graphql.ranges.answers import Freshness as FreshnessData
from millrace_graphql.ranges.subscribers import Change
from millrace_graphql.schema.freshness import Freshness
from millrace_graphql.schema.inputs import FRESHNESS_DOC, MERCHANT_DOC, WHOSE_DOC
from millrace_graphql.schema.scalars import BigInt, DateTime
from millrace_graphql.schema.selection import caller_of, groups_of, limited
from millrace_graphql.schema.series import Report, Window

MAX_REPORTS = 144
"""Reports of one event; the windows of all of them are named."""


class ReportsChanged(graphene.ObjectType):  # type: ignore[misc]
    """Reports of a merchant that have changed since the event before, merged into one event however many notices there were."""

    merchant_id = graphene.ID(required=True, description=WHOSE_DOC)
    watermark = graphene.Field(BigInt, required=True, description="Give it as `after` to go on from here after a lost connection.")
    reset = graphene.Boolean(
        required=True,
        description="Changes may have been missed or are too many to name: read again what you show. The first event says so.",
    )
    windows = graphene.List(
        graphene.NonNull(DateTime), required=True, description="Starts of the 10-minute reports that have changed, in time order."
    )
    reports = graphene.List(
        graphene.NonNull(Report),
        required=True,
        first=graphene.Int(default_value=12, required=True, description=f"How many of the newest; at most {MAX_REPORTS}."),
        description="The changed reports as they are now, newest first.",
    )
    freshness = graphene.Field(graphene.NonNull(Freshness), description=FRESHNESS_DOC)

    @staticmethod
    def resolve_windows(change: Change, info: Any) -> list[int]:
        """Starts."""
        return sorted({start for start, _ in change.windows})

    @staticmethod
    async def resolve_reports(change: Change, info: Any, first: int) -> list[Window]:
        """The newest reports."""
        newest = list(reversed(change.windows))[: limited("first", first, MAX_REPORTS)]
        groups, caller, queries = groups_of(info), caller_of(info), info.context.queries
        found = await asyncio.gather(
            *(queries.report(caller, change.merchant_id, from_ms(start), currency=currency, groups=groups) for start, currency in newest)
        )
        return [Window(series, 0) for series in found if series is not None]

    @staticmethod
    async def resolve_freshness(change: Change, info: Any) -> FreshnessData:
        """Progress of the analysis."""
        return await info.context.queries.freshness()  # type: ignore[no-any-return]


class Subscription(graphene.ObjectType):  # type: ignore[misc]
    """Pushed over a WebSocket (graphql-transport-ws) or as server-sent events."""

    reports_changed = graphene.Field(
        graphene.NonNull(ReportsChanged),
        merchant_id=graphene.ID(required=True, description=MERCHANT_DOC),
        after=graphene.Argument(BigInt, description="The watermark of the last event that was seen: what has changed since comes first."),
        description="A merchant's reports, whenever some have changed. Subscribe first and then read: nothing falls between.",
    )
    freshness = graphene.Field(graphene.NonNull(Freshness), description="How far the analysis has come, now and whenever it moves.")

    @staticmethod
    async def subscribe_reports_changed(_root: None, info: Any, merchant_id: str, after: int | None = None) -> AsyncIterator[Change]:
        """The merchant's changes; who may see them is settled before anything is opened (I9)."""
        caller_of(info).require(merchant_id)
        context = info.context
        subscriber = context.hub.open(merchant_id)  # before the look-up, so that nothing falls between
        try:
            yield await context.resume.since(merchant_id, after if after is not None else context.last_event)
            while True:
                yield await subscriber.next()
        finally:
            context.hub.close(subscriber)

    @staticmethod
    def resolve_reports_changed(change: Change, info: Any, merchant_id: str, after: int | None = None) -> Change:
        """The event."""
        return change

    @staticmethod
    async def subscribe_freshness(_root: None, info: Any) -> AsyncIterator[None]:
        """An event now and for each step of the progress."""
        caller_of(info)
        subscriber = info.context.hub.open(None)
        try:
            yield None
            while True:
                await subscriber.next()
                yield None
        finally:
            info.context.hub.close(subscriber)

    @staticmethod
    async def resolve_freshness(_root: None, info: Any) -> FreshnessData:
        """Progress of the analysis."""
        return await info.context.queries.freshness()  # type: ignore[no-any-return]
