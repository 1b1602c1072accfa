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

    def holds(self, merchant: Merchant) -> bool:
        """Whether a merchant stands in the group."""
        return merchant.currency == self.currency and PeerGroup.of(merchant, self.currency) == self and merchant.status not in CLOSED


def chosen(group: PeerGroup, merchants: list[Merchant], besides: str, most: int) -> list[Merchant]:
    """The group's other merchants, at most so many: always the same, by a hash that no merchant chooses a place in."""
    found = [merchant for merchant in merchants if merchant.id != besides and group.holds(merchant)]
    if len(found) <= most:
        return found
    return sorted(found, key=lambda merchant: hashlib.sha256(f"{group}\n{merchant.id}".encode()).digest())[:most]


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
