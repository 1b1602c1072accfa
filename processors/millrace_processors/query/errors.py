"""What can go wrong for a caller of the query service. ``status`` and ``code`` are those of the problem+json answer."""

from __future__ import annotations

from typing import Any

from millrace_processors.errors import ProcessorsError


class QueryError(ProcessorsError):
    """An error whose message a caller may read; ``data`` names the value, its place and the fix where there are such."""

    status = 400
    code = "BAD_REQUEST"

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message, self.data = message, data


class UnauthenticatedError(QueryError):
    """No access token, or one that does not hold."""

    status, code = 401, "UNAUTHENTICATED"


class ForbiddenError(QueryError):
    """The caller may not read this merchant (I9)."""

    status, code = 403, "FORBIDDEN"


class RefusedError(QueryError):
    """The SQL is not what may be asked. ``data``: ``what`` is refused, ``line`` and ``column`` where known, and what is ``allowed``."""

    code = "SQL_REFUSED"


class TooLargeError(QueryError):
    """A body, query, range or estimate is over its limit."""

    code = "LIMIT_EXCEEDED"


class SlowError(QueryError):
    """The body did not arrive in time."""

    status, code = 408, "BODY_TIMEOUT"


class NotFoundError(QueryError):
    """There is no such job of this caller."""

    status, code = 404, "NOT_FOUND"


class NotReadyError(QueryError):
    """The job has no result (yet)."""

    status, code = 409, "NO_RESULT"


class GoneError(QueryError):
    """The result has expired."""

    status, code = 410, "EXPIRED"


class BusyError(QueryError):
    """Too many jobs wait; ``data`` holds ``retryAfter`` in seconds."""

    status, code = 429, "BUSY"


class FailedError(QueryError):
    """The engine could not answer the query; the message says why."""

    code = "FAILED"


class TimedOutError(QueryError):
    """The time budget of a job is spent."""

    code = "TIMEOUT"


class CancelledError(QueryError):
    """The job was cancelled while it ran."""

    code = "CANCELED"
