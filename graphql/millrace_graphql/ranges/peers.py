"""A merchant beside its peers: the medians of other merchants of the same business type, region and currency.

No peer is named, and no median is given for which fewer than ``min_peers`` other merchants have a value.
"""

from __future__ import annotations

import hashlib
import statistics
from dataclasses import dataclass

from millrace_contracts.metrics import Metric, Unit
from millrace_graphql.ranges.answers import Series
from millrace_graphql.ranges.directory import Merchant
from millrace_graphql.ranges.merge import Merge, Number

CLOSED = frozenset({"closed", "suspended"})


@dataclass(frozen=True)
class PeerGroup:
    """What makes merchants peers."""

    business_type: str
    country: str
    region: str
    currency: str

    @classmethod
    def of(cls, merchant: Merchant, currency: str) -> PeerGroup | None:
        """A merchant's group; None where its business type, country or region is not known."""
        if not (merchant.business_type and merchant.country and merchant.region):
            return None
        return cls(merchant.business_type, merchant.country, merchant.region, currency)


def grouped(merchants: list[Merchant]) -> dict[PeerGroup, list[Merchant]]:
    """The merchants by group, those that are not open left out, each group in an order of its own that no merchant chooses a place in."""
    found: dict[PeerGroup, list[Merchant]] = {}
    for merchant in merchants:
        group = PeerGroup.of(merchant, merchant.currency or "")
        if group is not None and merchant.status not in CLOSED:
            found.setdefault(group, []).append(merchant)
    for group, members in found.items():
        members.sort(key=lambda merchant: hashlib.sha256(f"{group}\n{merchant.id}".encode()).digest())
    return found


@dataclass(frozen=True)
class Peers:
    """A merchant's total beside its peers'. ``group`` is None where the merchant's own business type or region is not known."""

    series: Series
    group: PeerGroup | None
    merchants: int
    """Other merchants in the group."""
    totals: tuple[Merge, ...]
    """Those that were read and have something in the range."""
    least: int

    @property
    def is_shown(self) -> bool:
        """Whether enough peers stand behind any median."""
        return len(self.totals) >= self.least

    def own(self, metric: Metric) -> Number:
        """The merchant's own value."""
        return self.series.total.numbers(metric)[0]

    def median(self, metric: Metric) -> Number:
        """The median of the peers; None where too few of them have a value."""
        values = [value for total in self.totals if (value := total.numbers(metric)[0]) is not None]
        if len(values) < self.least:
            return None
        middle = statistics.median(values)
        return middle if metric.unit is Unit.FRACTION else round(middle)


def with_facts(series: list[Series]) -> tuple[Merge, ...]:
    """The totals of those with something in the range."""
    return tuple(one.total for one in series if any(int(one.total.sums(name)[0]) for name in ("payments", "refunds", "failed")))
