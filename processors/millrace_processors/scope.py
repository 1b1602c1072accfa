"""Which windows and merchants a job is about, for the lake and for MongoDB."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from millrace_contracts.windows import WINDOW


@dataclass(frozen=True)
class Scope:
    """Windows that start in [start, end), of some merchants; None and empty mean all."""

    start: datetime | None = None
    end: datetime | None = None
    merchants: tuple[str, ...] = ()

    def condition(self) -> Column:
        """The scope as a condition on the lake, which skips the files that it leaves out."""
        return self.times() & F.col("merchant_id").isin(*self.merchants) if self.merchants else self.times()

    def times(self) -> Column:
        """The same of the windows only."""
        found = F.lit(True)
        if self.start is not None:
            found = found & (F.col("window_start") >= F.lit(self.start))
        return found if self.end is None else found & (F.col("window_start") < F.lit(self.end))

    def filter(self) -> dict[str, Any]:
        """The payments, as MongoDB's filter, that may have facts in the scope.

        What is no payment by its types is among them: it must not be taken for one that is gone.
        """
        both: list[dict[str, Any]] = []
        if self.start is not None or self.end is not None:
            time = self.instants()
            refunds = {"$elemMatch": {"$or": [{"refundedAt": time}, _not("refundedAt", "date")]}}
            both.append({"$or": [{"paidAt": time}, {"refunds": refunds}, _not("paidAt", "date")]})
        if self.merchants:
            both.append({"$or": [{"merchantId": {"$in": list(self.merchants)}}, _not("merchantId", "string")]})
        return {"$and": both} if both else {}

    def instants(self) -> dict[str, datetime]:
        """Bounds on the instants of facts in the scope: never too narrow, at most a window too wide."""
        found = {} if self.start is None else {"$gte": self.start}
        return found if self.end is None else {**found, "$lt": self.end + WINDOW}


def _not(field: str, kind: str) -> dict[str, Any]:
    return {field: {"$not": {"$type": kind}}}
