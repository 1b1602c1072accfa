"""Which failures of MongoDB mean that it is not available, and the bound on waiting for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pymongo
from pymongo.errors import AutoReconnect, BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError, WaitQueueTimeoutError

from millrace_collection.store import StoreUnavailable

DUPLICATE_KEY = 11000
INVALID_DOCUMENT = 121
UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
REFUSED_FIX = "run `millrace mongo-init apply`, which makes it, or mend its password"
TRANSIENT = frozenset([6, 7, 50, 64, 89, 91, 100, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])
"""Time limits, write concern failures, shutdowns, elections and network errors between members: the client may send it again."""


@asynccontextmanager
async def guarded(seconds: float) -> AsyncIterator[None]:
    """Bound the time and tell unavailability from other errors.

    Within pymongo.timeout the driver repeats retryable reads and writes until the deadline, each write with its
    transaction number, so that a repeated write happens once.
    """
    try:
        with pymongo.timeout(seconds):
            yield
    except (ConnectionFailure, AutoReconnect, WaitQueueTimeoutError) as error:
        raise StoreUnavailable(f"MongoDB does not answer: {str(error).split(', Timeout:')[0]}") from error
    except OperationFailure as error:
        if error.code in (UNAUTHORIZED, AUTHENTICATION_FAILED):
            raise StoreUnavailable(f"MongoDB refuses the user of MILLRACE_MONGO_COLLECTION_URI: {REFUSED_FIX}") from error
        if error.code in TRANSIENT or error.timeout or error.has_error_label("RetryableWriteError"):
            raise StoreUnavailable(str(error)) from error
        raise
    except PyMongoError as error:
        if error.timeout:
            raise StoreUnavailable(str(error)) from error
        raise


def document_errors(error: BulkWriteError) -> list[Mapping[str, Any]]:
    """The errors of single documents of a bulk write.

    Raises:
        StoreUnavailable: a majority did not confirm, or an error that is not about the document.
    """
    if error.details["writeConcernErrors"]:
        raise StoreUnavailable(str(error.details["writeConcernErrors"][0])) from error
    failures: list[Mapping[str, Any]] = error.details["writeErrors"]
    for failure in failures:
        if failure["code"] not in (DUPLICATE_KEY, INVALID_DOCUMENT):
            raise StoreUnavailable(failure["errmsg"]) from error
    return failures
