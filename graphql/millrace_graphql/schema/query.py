"""The root of the schema: who asks, and the questions about reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import graphene
from graphql import GraphQLSchema

from millrace_graphql.identity import Identity
from millrace_graphql.ranges.answers import Freshness as FreshnessData
from millrace_graphql.ranges.answers import Series as SeriesData
from millrace_graphql.ranges.calendar import Grain as GrainData
from millrace_graphql.ranges.customer_days import CustomerDays as CustomerDaysData
from millrace_graphql.ranges.directory import Merchant as MerchantData
from millrace_graphql.ranges.grid import Grid as GridData
from millrace_graphql.ranges.peers import Peers as PeersData
from millrace_graphql.schema.connection import Edge, Page, connection, from_cursor, to_cursor
from millrace_graphql.schema.customers import CustomerDays
from millrace_graphql.schema.freshness import Freshness
from millrace_graphql.schema.grid import Grid
from millrace_graphql.schema.inputs import CURRENCY_DOC, GRAIN_DOC, MERCHANT_DOC, Grain, asked, day_arguments, range_arguments
from millrace_graphql.schema.peers import Peers
from millrace_graphql.schema.scalars import DateTime
from millrace_graphql.schema.selection import caller_of, groups_of, limited
from millrace_graphql.schema.series import Report, Series, Window
from millrace_graphql.schema.subscription import Subscription

MAX_MERCHANTS = 1_000


class Merchant(graphene.ObjectType):  # type: ignore[misc]
    """A merchant; what is not known yet is null."""

    id = graphene.ID(required=True, description="What the questions about reports take as merchantId.")
    name = graphene.String(description="As the merchant's profile has it.")
    grade = graphene.String(description="The merchant's grade with the platform.")
    country = graphene.String(description="Where it stands: country.")
    region = graphene.String(description="Where it stands: region, by which peers are found.")
    city = graphene.String(description="Where it stands: city.")
    business_type = graphene.String(description="What it trades in, by which peers are found.")
    time_zone = graphene.String(description="IANA name.")
    currency = graphene.String(description="ISO 4217; the default of its reports.")
    status = graphene.String(description="Whether it takes payments; a closed one is nobody's peer.")


MerchantConnection = connection(Merchant, "Merchant", counted=False)


class Viewer(graphene.ObjectType):  # type: ignore[misc]
    """Who asks."""

    role = graphene.String(required=True, description="merchant, operator or service.")
    merchants = graphene.List(
        graphene.NonNull(Merchant),
        required=True,
        first=graphene.Int(default_value=100, description=f"At most {MAX_MERCHANTS}."),
        after=graphene.ID(description="Only ids after this one."),
        description="The merchants whose reports the caller may see, by id.",
    )
    merchant_connection = graphene.Field(
        graphene.NonNull(MerchantConnection),
        first=graphene.Int(default_value=100, required=True, description=f"At most {MAX_MERCHANTS}."),
        after=graphene.String(description="Only merchants after this cursor."),
        description="The same, page by page.",
    )

    @staticmethod
    async def resolve_merchants(caller: Identity, info: Any, first: int, after: str | None = None) -> list[MerchantData]:
        """One page."""
        return await info.context.queries.merchants(caller, limited("first", first, MAX_MERCHANTS), after)  # type: ignore[no-any-return]

    @staticmethod
    async def resolve_merchant_connection(caller: Identity, info: Any, first: int, after: str | None = None) -> Page[MerchantData]:
        """One page of the connection."""
        limited("first", first, MAX_MERCHANTS)
        key = from_cursor("after", after) if after else None
        found = await info.context.queries.merchants(caller, first + 1, key)
        return Page([Edge(to_cursor(merchant.id), merchant) for merchant in found[:first]], len(found) > first, after is not None)


class Query(graphene.ObjectType):  # type: ignore[misc]
    """Reports of merchants, ten minutes fine, from the change stream of the payments."""

    viewer = graphene.Field(graphene.NonNull(Viewer), description="Who asks.")
    freshness = graphene.Field(graphene.NonNull(Freshness), description="How far the analysis has come.")
    report = graphene.Field(
        Report,
        merchant_id=graphene.ID(required=True, description=MERCHANT_DOC),
        start=DateTime(required=True, description="On a boundary of ten minutes."),
        currency=graphene.String(description=CURRENCY_DOC),
        description="One 10-minute report; null where nothing was ever reported.",
    )
    series = graphene.Field(
        graphene.NonNull(Series),
        **range_arguments(),
        grain=Grain(default_value=GrainData.TEN_MINUTES, required=True, description=GRAIN_DOC),
        sparse=graphene.Boolean(default_value=False, required=True, description="Only windows in which something happened."),
        description="The windows of a range with their totals.",
    )
    week_grid = graphene.Field(
        graphene.NonNull(Grid), **range_arguments(), description="A range by hour of day and day of week: when the merchant is busy."
    )
    peers = graphene.Field(
        graphene.NonNull(Peers),
        **range_arguments(),
        grain=Grain(default_value=GrainData.DAY, required=True, description="On whose boundaries the range stands."),
        description="The totals of a range beside the medians of the merchant's peers.",
    )
    customers_by_day = graphene.Field(
        graphene.NonNull(CustomerDays),
        **day_arguments(),
        description="New and returning customers by closed day of the merchant's calendar, over all currencies.",
    )

    @staticmethod
    def resolve_viewer(_root: None, info: Any) -> Identity:
        """The caller."""
        return caller_of(info)

    @staticmethod
    async def resolve_freshness(_root: None, info: Any) -> FreshnessData:
        """Progress of the analysis."""
        caller_of(info)
        return await info.context.queries.freshness()  # type: ignore[no-any-return]

    @staticmethod
    async def resolve_report(_root: None, info: Any, merchant_id: str, start: datetime, currency: str | None = None) -> Window | None:
        """One window."""
        series = await info.context.queries.report(caller_of(info), merchant_id, start, currency=currency, groups=groups_of(info))
        return Window(series, 0) if series else None

    @staticmethod
    async def resolve_series(_root: None, info: Any, merchant_id: str, **given: Any) -> SeriesData:
        """A range."""
        return await info.context.queries.series(caller_of(info), merchant_id, asked(**given), groups_of(info))  # type: ignore[no-any-return]

    @staticmethod
    async def resolve_week_grid(_root: None, info: Any, merchant_id: str, **given: Any) -> GridData:
        """A range by hour of day and day of week."""
        return await info.context.queries.grid(caller_of(info), merchant_id, asked(**given), groups_of(info))  # type: ignore[no-any-return]

    @staticmethod
    async def resolve_peers(_root: None, info: Any, merchant_id: str, **given: Any) -> PeersData:
        """A merchant among its peers."""
        return await info.context.queries.peers(caller_of(info), merchant_id, asked(**given), groups_of(info))  # type: ignore[no-any-return]

    @staticmethod
    async def resolve_customers_by_day(_root: None, info: Any, merchant_id: str, **given: Any) -> CustomerDaysData:
        """New and returning customers."""
        return await info.context.queries.customer_days(caller_of(info), merchant_id, asked(**given))  # type: ignore[no-any-return]


def build_schema() -> GraphQLSchema:
    """The executable schema."""
    built: GraphQLSchema = graphene.Schema(query=Query, subscription=Subscription).graphql_schema
    return built
