"""What can go wrong for a caller. ``code`` is the same in GraphQL's extensions and in REST's problem+json."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An error whose message a caller may read. ``data`` names the argument, its value and the fix where there are such."""

    code = "BAD_REQUEST"
    status = 400

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class InvalidArgumentError(ApiError):
    """An argument's value does not fit."""

    code = "INVALID_ARGUMENT"

    def __init__(self, argument: str, value: object, problem: str, fix: str) -> None:
        super().__init__(f"{argument}: {value!s:.60} {problem}; {fix}", argument=argument, value=f"{value!s:.60}", fix=fix)


class UnauthenticatedError(ApiError):
    """No access token, or one that does not hold."""

    code = "UNAUTHENTICATED"
    status = 401


class ForbiddenError(ApiError):
    """The caller may not see this merchant (I9)."""

    code = "FORBIDDEN"
    status = 403


class NotFoundError(ApiError):
    """There is no such thing."""

    code = "NOT_FOUND"
    status = 404


class LimitExceededError(ApiError):
    """A document, or a request, is larger than the API takes. ``data`` holds ``limit``, ``value`` and ``allowed``."""

    code = "LIMIT_EXCEEDED"

    def __init__(self, limit: str, value: object, allowed: int, fix: str, of: str = "document") -> None:
        super().__init__(f"the {of}'s {limit} is {value}, and {allowed} is allowed; {fix}", limit=limit, value=value, allowed=allowed)


class UnavailableError(ApiError):
    """A server behind the API does not answer; the same request may succeed later."""

    code = "UNAVAILABLE"
    status = 503


class TimedOutError(ApiError):
    """The time budget is spent."""

    code = "TIMEOUT"
    status = 504
