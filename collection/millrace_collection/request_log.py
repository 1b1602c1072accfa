"""The write-ahead request log: every accepted command before it is carried out, so that one without an answer can be repeated.

One JSON line ``{"event": "accepted", "request_id", "caller", "first_line"?, "commands": [...]}`` before the write and one
``{"event": "answered", "request_id", "first_line"?, "answers": {status: count}}`` after it. An ``accepted`` without its
``answered`` was not acknowledged; its commands have the form of bulk lines and can be posted to /v1/payments/bulk, where
the ids keep a repetition from doubling anything. A user appears as ``userKey``, never by the raw id (I12): the id is found
in MongoDB with ``users.findOne({_id: <userKey>})``. Profiles of users are not logged, only that one was written.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from millrace_collection.payments import Answer, NewPayment
from millrace_collection.store import Change, RefundChange
from millrace_contracts.windows import to_ms


class LineWriter:
    """Writes one line at a time and keeps nothing back, so that a killed process loses none; workers may share the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Write one entry."""
        line = {**entry, "level": "info", "tier": "collection", "timestamp": datetime.now(UTC)}
        self._file.write(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        self._file.flush()

    def close(self) -> None:
        """Close the file, but not standard error."""
        if self._file is not sys.stderr.buffer:
            self._file.close()


def writer(setting: str) -> LineWriter | None:
    """The writer that MILLRACE_COLLECTION_REQUEST_LOG names: ``log`` (standard error), ``off`` or a file to append to."""
    if setting == "off":
        return None
    return LineWriter(sys.stderr.buffer if setting == "log" else _opened(Path(setting)))


def _opened(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab", buffering=0)


class RequestLog:
    """Writes accepted commands and their outcome; ``write`` None turns it off."""

    def __init__(self, write: LineWriter | None, key_of: Callable[[str], str]) -> None:
        self._write = write
        self._key_of = key_of

    def accepted(self, request_id: str, caller: str, commands: Sequence[NewPayment | Change], first_line: int | None = None) -> None:
        """Before the write."""
        if self._write is not None:
            entries = [self._entry(command) for command in commands]
            self._write({"event": "accepted", **_where(request_id, first_line), "caller": caller, "commands": entries})

    def answered(self, request_id: str, answers: Sequence[Answer], first_line: int | None = None) -> None:
        """After the write."""
        if self._write is not None:
            counts = Counter(str(answer.status) for answer in answers)
            self._write({"event": "answered", **_where(request_id, first_line), "answers": counts})

    def close(self) -> None:
        """Close the log."""
        if self._write is not None:
            self._write.close()

    def _entry(self, command: NewPayment | Change) -> dict[str, Any]:
        if isinstance(command, NewPayment):
            body = command.body
            entry: dict[str, Any] = {
                "op": "payment",
                "id": command.id,
                "merchantId": body.merchantId,
                "amount": body.amount,
                "currency": body.currency,
                "method": body.method,
                "points": {"used": body.points.used, "earned": body.points.earned},
                "status": body.status,
                "paidAt": to_ms(body.paidAt),
            }
            if body.userId is not None:
                entry["userKey"] = self._key_of(body.userId)
            if body.device is not None:
                entry["device"] = body.device.document()
            return entry
        if isinstance(command, RefundChange):
            refunded = to_ms(command.refunded_at)
            return {"op": "refund", "paymentId": command.payment_id, "id": command.id, "amount": command.amount, "refundedAt": refunded}
        return {"op": "status", "paymentId": command.payment_id, "status": command.status}


def _where(request_id: str, first_line: int | None) -> dict[str, Any]:
    return {"request_id": request_id} if first_line is None else {"request_id": request_id, "first_line": first_line}
