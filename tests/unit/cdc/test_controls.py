"""What happens to the whole collection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace_cdc.controls import decide
from millrace_cdc.errors import CollectionGone, Reopen

TOKEN = "826B06E671000000012B0229296E04"


def change(operation: str, **more: Any) -> dict[str, Any]:
    return {"_id": {"_data": TOKEN}, "operationType": operation, **more}


def record(token: str, start_after: bool) -> tuple[str, bytes]:
    return "position", f"{token} {start_after}".encode()


def test_to_stop_keeps_the_position_before_it_and_leaves_a_record() -> None:
    portion, ending = decide("d.c", change("drop"), "stop", record)
    assert isinstance(ending, CollectionGone)
    assert TOKEN in str(ending)
    assert portion.progress == {}
    event = json.loads(portion.audits[0][1])
    assert (event["kind"], event["operation"], event["token"], event["policy"]) == ("collection-event", "drop", TOKEN, "stop")


@pytest.mark.parametrize(("operation", "start_after"), [("drop", False), ("rename", False), ("dropDatabase", False), ("invalidate", True)])
def test_to_go_on_moves_the_position_behind_it(operation: str, start_after: bool) -> None:
    portion, ending = decide("d.c", change(operation), "record", record)
    assert isinstance(ending, Reopen)
    assert portion.progress == {"position": f"{TOKEN} {start_after}".encode()}


def test_a_rename_says_where_the_documents_are() -> None:
    portion, _ = decide("d.c", change("rename", to={"db": "d", "coll": "archived"}), "stop", record)
    assert json.loads(portion.audits[0][1])["to"] == "d.archived"
