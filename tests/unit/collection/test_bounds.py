"""Bounds of a bulk body, whatever its lines are: the answers kept, the lines written, and what is said of both."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_collection.payments import Answer
from millrace_collection.problems import MOST_ERRORS, FieldError, Problem
from millrace_collection.settings import CollectionSettings
from millrace_collection.spool import Spool
from tests.unit.collection.fake_store import FakeStore
from tests.unit.collection.test_bulk import payment

pytestmark = pytest.mark.anyio
BATCH = 3
SPOOL = 65_536


@pytest.fixture(name="settings")
def bounded_settings() -> CollectionSettings:
    return CollectionSettings(customer_secret="00" * 16, request_log="off", bulk_batch=BATCH, bulk_lines=8, bulk_spool_bytes=SPOOL)


def content(spool: Spool) -> bytes:
    spool.rewind()
    return b"".join(iter(spool.read, b""))


async def test_lines_beyond_the_bound_are_not_written_and_the_last_answer_says_so(client: httpx.AsyncClient, store: FakeStore) -> None:
    body = b"\n" + b"".join(orjson.dumps(payment(f"p{number}")) + b"\n" for number in range(20))
    answer = await client.post("/v1/payments/bulk", content=body)
    assert (answer.status_code, answer.headers["content-type"], answer.headers["connection"]) == (413, "application/x-ndjson", "close")
    *told, last = [orjson.loads(line) for line in answer.content.splitlines()]
    assert told == [{"line": number + 2, "status": 201, "id": f"p{number}"} for number in range(7)]
    assert (last["line"], last["status"]) == (9, 413)
    assert "8 lines (MILLRACE_COLLECTION_BULK_LINES)" in last["error"]["detail"]
    assert set(store.collections["payments"]) == {f"p{number}" for number in range(7)}


async def test_a_body_of_as_many_lines_as_may_be_is_carried_out_whole(client: httpx.AsyncClient) -> None:
    body = b"".join(orjson.dumps(payment(f"p{number}")) + b"\n" for number in range(8))
    answer = await client.post("/v1/payments/bulk", content=body)
    assert (answer.status_code, len(answer.content.splitlines())) == (200, 8)


async def test_a_line_tells_a_bounded_number_of_errors(client: httpx.AsyncClient) -> None:
    line = orjson.dumps({**payment("p"), **{f"x{number}": 1 for number in range(400)}})
    answer = await client.post("/v1/payments/bulk", content=line)
    assert len(answer.json()["error"]["errors"]) == MOST_ERRORS


ANSWERS = st.builds(
    lambda status, identifier, words: Answer(
        status, identifier, None if status == 201 else Problem(status, words, [FieldError("amount", words, words)])
    ),
    st.sampled_from([201, 422, 503]),
    st.text("abc-", min_size=1, max_size=64),
    st.text(max_size=40).map(lambda text: text * 200),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(ANSWERS, min_size=1, max_size=60), most=st.integers(8_192, SPOOL))
def test_answers_never_take_more_than_their_bytes_and_none_of_a_batch_is_missing(answers: list[Answer], most: int) -> None:
    spool = Spool(most, BATCH)
    given = 0
    for start in range(0, len(answers), BATCH):
        if spool.full:
            break
        for answer in answers[start : start + BATCH]:
            given += 1
            spool.add(given, answer)
    spool.end(Problem(413, "The body ends here"))
    kept = content(spool)
    rows: list[dict[str, Any]] = [orjson.loads(line) for line in kept.splitlines()]
    spool.close()
    assert len(kept) <= most
    assert [(row["line"], row["status"], row["id"]) for row in rows[:-1]] == [
        (number + 1, answer.status, answer.id) for number, answer in enumerate(answers[:given])
    ]
    assert (rows[-1]["line"], rows[-1]["status"]) == (given + 1, 413)
    assert sum(spool.counts.values()) == given
