"""How fresh an answer is (I13)."""

from __future__ import annotations

from typing import Any

import graphene

from millrace_graphql.http.execution import Column
from millrace_graphql.ranges.answers import Freshness as FreshnessData
from millrace_graphql.ranges.plan import iso
from millrace_graphql.schema.scalars import BigInt, DateTime


class Freshness(graphene.ObjectType):  # type: ignore[misc]
    """How fresh and complete an answer is."""

    as_of = graphene.Field(
        DateTime, required=True, description="When the store was asked how far the analysis is; the reports are not older."
    )
    complete_through = graphene.Field(DateTime, description="Every change committed up to here is in the answer; null before the first.")
    revision = graphene.Field(
        BigInt, description="How many versions of facts stand behind the answer's range: it grows with every change that touches it."
    )
    missing = graphene.List(
        graphene.NonNull(DateTime), required=True, description="Starts of the answer's windows that end after completeThrough."
    )

    @staticmethod
    def resolve_as_of(source: FreshnessData, info: Any) -> int:
        """Epoch ms."""
        return source.progress.as_of_ms

    @staticmethod
    def resolve_complete_through(source: FreshnessData, info: Any) -> int | None:
        """Epoch ms."""
        return source.complete_through_ms

    @staticmethod
    def resolve_missing(source: FreshnessData, info: Any) -> Column:
        """Starts as texts."""
        return Column(iso(ms) for ms in source.missing())
