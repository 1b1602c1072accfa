"""The root of the schema: who asks, and the questions about reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import graphene
from graphql import FieldNode, FragmentSpreadNode, GraphQLSchema

from millrace_contracts.windows import Grain as StoredGrain
from millrace_graphql.errors import InvalidArgumentError, UnauthenticatedError
from millrace_graphql.http.execution import Context
from millrace_graphql.identity import Identity
from millrace_graphql.ranges.columns import Group
from millrace_graphql.ranges.directory import Merchant as MerchantData
from millrace_graphql.ranges.query import Freshness as FreshnessData
from millrace_graphql.ranges.query import Series as SeriesData
from millrace_graphql.ranges.query import groups_for
from millrace_graphql.schema.scalars import DateTime
from millrace_graphql.schema.series import Freshness, Grain, Report, Series, Window

MAX_MERCHANTS = 1_000


def caller_of(info: Any) -> Identity:
    """The caller.

    Raises:
        UnauthenticatedError: there is none; the endpoint has refused such a request before.
    """
    context: Context = info.context
    if context.caller is None:
        raise UnauthenticatedError("send your access token in the header 'Authorization: Bearer <token>'")
    return context.caller


def groups_of(info: Any) -> frozenset[Group]:
    """The column groups behind every field selected below this one, so that nothing else is read."""
    names: set[str] = set()
    seen: set[str] = set()
    waiting = [node.selection_set for node in info.field_nodes]
    while waiting:
        selections = waiting.pop()
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                names.add(selection.name.value)
            elif isinstance(selection, FragmentSpreadNode):
                if selection.name.value not in seen:
                    seen.add(selection.name.value)
                    waiting.append(info.fragments[selection.name.value].selection_set)
                continue
            waiting.append(selection.selection_set)
    return groups_for(names)


class Merchant(graphene.ObjectType):  # type: ignore[misc]
    """A merchant; what is not known yet is null."""

    id = graphene.ID(required=True)
    name = graphene.String()
    grade = graphene.String()
    country = graphene.String()
    region = graphene.String()
    city = graphene.String()
    business_type = graphene.String()
    time_zone = graphene.String(description="IANA name.")
    currency = graphene.String(description="ISO 4217; the default of its reports.")
    status = graphene.String()


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

    @staticmethod
    async def resolve_merchants(caller: Identity, info: Any, first: int, after: str | None = None) -> list[MerchantData]:
        """One page."""
        if not 0 <= first <= MAX_MERCHANTS:
            raise InvalidArgumentError("first", first, "does not fit", f"give 0 to {MAX_MERCHANTS}")
        return await info.context.queries.merchants(caller, first, after)  # type: ignore[no-any-return]


def _merchant_arguments() -> dict[str, Any]:
    return {
        "merchant_id": graphene.ID(required=True),
        "start": DateTime(required=True, description="On a window boundary in UTC."),
        "currency": graphene.String(description="ISO 4217; the merchant's own where it is left out."),
    }


class Query(graphene.ObjectType):  # type: ignore[misc]
    """Reports of merchants, ten minutes fine, from the change stream of the payments."""

    viewer = graphene.Field(graphene.NonNull(Viewer), description="Who asks.")
    freshness = graphene.Field(graphene.NonNull(Freshness), description="How far the analysis has come.")
    report = graphene.Field(Report, **_merchant_arguments(), description="One 10-minute report; null where nothing was ever reported.")
    series = graphene.Field(
        graphene.NonNull(Series),
        **_merchant_arguments(),
        end=DateTime(required=True, description="Exclusive; on a window boundary in UTC."),
        grain=Grain(default_value=StoredGrain.TEN_MINUTES, required=True),
        sparse=graphene.Boolean(default_value=False, required=True, description="Only windows in which something happened."),
        description="The windows of a range with their totals.",
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
    async def resolve_series(
        _root: None,
        info: Any,
        merchant_id: str,
        start: datetime,
        end: datetime,
        grain: StoredGrain,
        sparse: bool,
        currency: str | None = None,
    ) -> SeriesData:
        """A range."""
        return await info.context.queries.series(  # type: ignore[no-any-return]
            caller_of(info), merchant_id, start, end, grain=StoredGrain(grain), currency=currency, sparse=sparse, groups=groups_of(info)
        )


def build_schema() -> GraphQLSchema:
    """The executable schema."""
    built: GraphQLSchema = graphene.Schema(query=Query).graphql_schema
    return built
