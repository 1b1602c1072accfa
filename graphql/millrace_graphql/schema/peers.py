"""A merchant beside the medians of its peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphene

from millrace_contracts.metrics import METRICS, Metric
from millrace_graphql.ranges.compare import change
from millrace_graphql.ranges.merge import shown
from millrace_graphql.ranges.peers import Peers as PeersData
from millrace_graphql.schema.freshness import Freshness
from millrace_graphql.schema.inputs import FRESHNESS_DOC, INCLUSIVE_DOC, WHOSE_DOC
from millrace_graphql.schema.metrics import SCALARS, description
from millrace_graphql.schema.scalars import BigInt, DateTime


def _type(name: str, scalar: Any) -> Any:
    fields = {
        "value": graphene.Field(scalar, description="The merchant's own."),
        "median": graphene.Field(scalar, description="The peers' median; null where too few of them have a value."),
        "difference": graphene.Float(description="By how much the own value is above the median, as a fraction of it."),
    }
    return type(f"{name}BesidePeers", (graphene.ObjectType,), {"__doc__": "A value beside the peers' median.", **fields})


_TYPES = {scalar: _type(str(scalar.__name__), scalar) for scalar in (graphene.Int, BigInt, graphene.Float)}


def beside_peers(peers: PeersData, metric: Metric) -> dict[str, Any]:
    """A metric's own value and the median, as an answer shows them."""
    own, median = peers.own(metric), peers.median(metric)
    difference = None if own is None or not median else change(own, median)[0]
    return {"value": shown(metric, own), "median": shown(metric, median), "difference": difference}


def _resolver(metric: Metric) -> Callable[[PeersData, Any], dict[str, Any]]:
    return lambda peers, info: beside_peers(peers, metric)


PeerMetrics = type(
    "PeerMetrics",
    (graphene.ObjectType,),
    {
        "__doc__": "Each metric of the range beside the peers' median.",
        **{
            metric.name: graphene.Field(
                graphene.NonNull(_TYPES[SCALARS[metric.unit]]),
                name=metric.name,
                description=description(metric),
                resolver=_resolver(metric),
            )
            for metric in METRICS
        },
    },
)


class Peers(graphene.ObjectType):  # type: ignore[misc]
    """A merchant beside other merchants of its business type, country, region and currency. No peer is named."""

    merchant_id = graphene.ID(required=True, description=WHOSE_DOC, resolver=lambda peers, info: peers.series.merchant_id)
    currency = graphene.String(required=True, description="ISO 4217.", resolver=lambda peers, info: peers.series.currency)
    start = graphene.Field(DateTime, required=True, description=INCLUSIVE_DOC, resolver=lambda peers, info: peers.series.asked.start_ms)
    end = graphene.Field(DateTime, required=True, description="Exclusive.", resolver=lambda peers, info: peers.series.asked.end_ms)
    business_type = graphene.String(
        description="Null where it is not known.", resolver=lambda peers, info: peers.group.business_type if peers.group else None
    )
    country = graphene.String(
        description="Of the group; null where it is not known.", resolver=lambda peers, info: peers.group.country if peers.group else None
    )
    region = graphene.String(
        description="Of the group; null where it is not known.", resolver=lambda peers, info: peers.group.region if peers.group else None
    )
    measured = graphene.Int(
        description="How many peers stand behind the medians; null where too few do, and then no median is shown.",
        resolver=lambda peers, info: len(peers.totals) if peers.is_shown else None,
    )
    totals = graphene.Field(graphene.NonNull(PeerMetrics), description="The whole range.", resolver=lambda peers, info: peers)
    freshness = graphene.Field(graphene.NonNull(Freshness), description=FRESHNESS_DOC, resolver=lambda peers, info: peers.series.freshness)
