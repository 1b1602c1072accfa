"""The write-ahead request log: an accepted command can be repeated from it. The format outlives the process, so it is spelt out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from millrace_collection.models import LINE, PaymentBody
from millrace_collection.payments import Answer, NewPayment
from millrace_collection.request_log import RequestLog, writer
from millrace_collection.store import RefundChange, StatusChange

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
FIELDS = {"merchantId": "m1", "userId": "raw-user", "amount": 5, "currency": "EUR", "method": "card", "paidAt": 1_772_357_400_000}
BODY = PaymentBody.model_validate({**FIELDS, "device": {"type": "pos", "os": "x"}})


def logged(path: Path) -> list[dict[str, object]]:
    log = RequestLog(writer(str(path)), lambda user: f"key-of-{len(user)}")
    commands = [NewPayment("p1", BODY, NOW), RefundChange("p1", "r1", 2, NOW, NOW), StatusChange("p2", "failed", NOW)]
    log.accepted("req-1", "caller-1", commands, 4)
    log.answered("req-1", [Answer(201, "p1"), Answer(201, "r1"), Answer(409, "p2")], 4)
    log.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_format_of_the_log(tmp_path: Path) -> None:
    entries = logged(tmp_path / "made" / "requests.log")
    times = [entry.pop("timestamp") for entry in entries]
    assert all(isinstance(time, str) and time.endswith("Z") for time in times)
    common = {"request_id": "req-1", "first_line": 4, "level": "info", "tier": "collection"}
    assert entries == [
        {
            **common,
            "event": "accepted",
            "caller": "caller-1",
            "commands": [
                {
                    "op": "payment",
                    "id": "p1",
                    "merchantId": "m1",
                    "amount": 5,
                    "currency": "EUR",
                    "method": "card",
                    "points": {"used": 0, "earned": 0},
                    "status": "succeeded",
                    "paidAt": 1_772_357_400_000,
                    "userKey": "key-of-8",
                    "device": {"type": "pos", "os": "x"},
                },
                {"op": "refund", "paymentId": "p1", "id": "r1", "amount": 2, "refundedAt": 1_772_357_400_000},
                {"op": "status", "paymentId": "p2", "status": "failed"},
            ],
        },
        {**common, "event": "answered", "answers": {"201": 2, "409": 1}},
    ]


def test_no_raw_user_id_is_logged(tmp_path: Path) -> None:
    """I12."""
    assert "raw-user" not in json.dumps(logged(tmp_path / "log"))


def test_a_logged_command_is_a_bulk_line_once_its_user_is_named_again(tmp_path: Path) -> None:
    for command in logged(tmp_path / "log")[0]["commands"]:  # type: ignore[attr-defined]
        if command.pop("userKey", None):
            command["userId"] = "raw-user"
        line = LINE.validate_json(orjson.dumps(command))
        instants = ("paidAt", "refundedAt")
        assert line.model_dump(exclude_none=True, exclude=set(instants)) == {
            name: value for name, value in command.items() if name not in instants
        }


def test_off_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert writer("off") is None
    RequestLog(None, str).accepted("r", "c", [NewPayment("p1", BODY, NOW)])
    assert capsys.readouterr() == ("", "")
