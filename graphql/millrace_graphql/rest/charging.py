"""What a REST request costs, in the points of GraphQL's documents (http/cost.py), and taking them from its caller's bucket.

Both APIs read the same reports: neither is a way around the limits of the other.
"""

from __future__ import annotations

from starlette.requests import Request

from millrace_graphql.errors import LimitExceededError
from millrace_graphql.http.cost import PEERS
from millrace_graphql.http.rate_limit import RateLimit
from millrace_graphql.identity import Identity
from millrace_graphql.ranges.answers import Asked
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.ranges.zones import DAY_MS
from millrace_graphql.settings import ApiSettings

WITH_PEERS = 1 + PEERS
"""A question about peers reads so many merchants."""
WITH_EARLIER = 2
"""A comparison reads two ranges."""


class Charges:
    """Charges requests before anything of their reports is read. ``rate_limit`` is None where the rate is not limited."""

    def __init__(self, queries: ReportQueries, settings: ApiSettings, rate_limit: RateLimit | None) -> None:
        self._queries = queries
        self._settings = settings
        self._rate_limit = rate_limit

    async def points(self, request: Request, caller: Identity, cost: int) -> None:
        """Take points; what is left is told in the answer's headers.

        Raises:
            LimitExceededError, ThrottledError: it costs more than may be, or more than is left.
        """
        limit = self._settings.max_cost
        if self._settings.cost_mode == "enforce" and cost > limit:
            raise LimitExceededError("cost", cost, limit, "ask for a shorter range", of="request")
        headers = {"X-Millrace-Cost": str(cost)}
        if self._rate_limit is not None:
            headers |= (await self._rate_limit.take(caller.payer, cost)).headers()
        request.state.charged = headers

    async def range(self, request: Request, caller: Identity, asked: Asked, groups: int, times: int = 1) -> None:
        """Take one point for each day and column group that a range reads, ``times`` over. Raises as ``points`` and ``series`` do."""
        merchant_id: str = request.path_params["id"]
        caller.require(merchant_id)  # nobody pays, or learns anything, for another merchant (I9)
        span = await self._queries.range_of(merchant_id, asked)
        days = max(1, -(-(span.end_ms - span.start_ms) // DAY_MS))
        # What is longer than anything that is answered is refused for its length, in words of its own.
        await self.points(request, caller, min(days, self._settings.max_export_days) * groups * times)


def charged(request: Request) -> dict[str, str]:
    """The headers that say what a request has cost and what is left; none where nothing was taken."""
    found: dict[str, str] = getattr(request.state, "charged", {})
    return found
