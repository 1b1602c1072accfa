"""How the truth check asks the API: with patience for what passes, and with words for what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from millrace_stack.errors import StackError
from millrace_stack.truth import answers
from millrace_stack.truth.answers import Api

FRESH = {"data": {"freshness": {"completeThrough": "2026-11-25T00:00:00Z"}}}


def error(code: str) -> dict[str, Any]:
    return {"data": None, "errors": [{"message": "no", "extensions": {"code": code}}]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Api, list[httpx.Response]]]:
    """An API that gives prepared responses in turn."""
    responses: list[httpx.Response] = []
    api = Api("http://api", "token")
    api.close()
    monkeypatch.setattr(api, "_http", httpx.Client(base_url="http://api", transport=httpx.MockTransport(lambda _: responses.pop(0))))
    monkeypatch.setattr(answers.time, "sleep", lambda _: None)
    yield api, responses
    api.close()


def test_an_api_whose_report_store_is_away_for_a_while_is_asked_again(asked: tuple[Api, list[httpx.Response]]) -> None:
    api, responses = asked
    responses += [httpx.Response(200, json=error("UNAVAILABLE")), httpx.Response(503), httpx.Response(200, json=FRESH)]
    through = api.complete_through()
    assert through is not None
    assert through.isoformat() == "2026-11-25T00:00:00+00:00"
    assert responses == []


def test_another_error_is_told_at_once(asked: tuple[Api, list[httpx.Response]]) -> None:
    api, responses = asked
    responses += [httpx.Response(200, json=error("FORBIDDEN"))]
    with pytest.raises(StackError, match="FORBIDDEN"):
        api.complete_through()


def test_patience_ends(asked: tuple[Api, list[httpx.Response]], monkeypatch: pytest.MonkeyPatch) -> None:
    api, responses = asked
    monkeypatch.setattr(api, "_patience", -1.0)
    responses += [httpx.Response(200, json=error("UNAVAILABLE"))]
    with pytest.raises(StackError, match="does not answer"):
        api.complete_through()
