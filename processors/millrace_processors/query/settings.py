"""The query service's settings: MILLRACE_QUERY_*, and the API's MILLRACE_API_* for who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from millrace_contracts.identity import TokenSettings
from millrace_contracts.settings import Settings
from millrace_processors.settings import Config


class QuerySettings(Settings, group="QUERY"):
    """Limits of ad-hoc queries."""

    results: str = ""
    """Folder of results and of the jobs' state; the local default is <home>/queries."""
    max_sql_bytes: int = Field(20_000, ge=100)
    """Of one query's text."""
    default_days: int = Field(31, ge=1)
    """Range of a query that names none: so many days up to now."""
    max_days: int = Field(400, ge=1)
    """Longest range of one query."""
    max_rows_read: int = Field(20_000_000, ge=1)
    """The cost limit: rows of the lake's files that are left after pruning, a merchant's own of them, counted again for each read."""
    max_result_rows: int = Field(100_000, ge=1)
    """Rows of a result; what is beyond is cut off, and the answer says so."""
    max_result_bytes: int = Field(67_108_864, ge=1_000_000)
    """Bytes of a result; a larger one fails."""
    timeout_seconds: float = Field(120.0, gt=0)
    """Time budget of a running job."""
    grace_seconds: float = Field(15.0, gt=0)
    """A job that has ended and still holds its slot or cores after so long has its engine replaced."""
    penalty_seconds: float = Field(300.0, ge=0)
    """A tenant whose query ended an engine waits so long, times the engines that it ended within a day."""
    max_running: int = Field(2, ge=1, le=64)
    """Jobs that run at once."""
    max_running_per_tenant: int = Field(1, ge=1)
    """Of one tenant."""
    max_queued_per_tenant: int = Field(10, ge=1)
    """Jobs of one tenant that wait; more are answered 429."""
    max_queued: int = Field(500, ge=1)
    """Jobs of all tenants that wait."""
    keep_seconds: float = Field(3_600.0, gt=0)
    """How long a result is kept."""
    max_kept_per_tenant: int = Field(20, ge=1)
    """Results of one tenant that are kept; the oldest goes first."""


@dataclass(frozen=True)
class QueryConfig:
    """Everything that the service needs to know, loaded once."""

    query: QuerySettings
    token: TokenSettings
    engine: Config

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> QueryConfig:
        """Load every group, with the local defaults of folders, and refuse the local issuer outside local use.

        Raises:
            SettingsError: names the variable and the fix.
        """
        home = Path(environ.get("MILLRACE_HOME", ".millrace")).resolve()
        query = QuerySettings.load(environ)
        return cls(
            query=query.model_copy(update={"results": query.results or str(home / "queries")}),
            token=TokenSettings.checked(environ),
            engine=Config.load(environ),
        )
