"""Traces: off unless asked for, below the caller's trace, with what was run and what was read below it."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from millrace_contracts.settings import SettingsError
from millrace_graphql import tracing
from millrace_graphql.tracing import Traced

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Heard(SpanExporter):
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


async def application(scope: Any, receive: Any, send: Any) -> None:
    async def read(name: str) -> None:
        with tracing.span("cassandra", **{"db.query.text": name}):
            await asyncio.sleep(0)

    with tracing.operation("Day", "query"):
        await asyncio.gather(read("one"), asyncio.create_task(read("two")))
    await send({"type": "http.response.start", "status": 207, "headers": []})


def traced(url: str, traceparent: str = "") -> list[Any]:
    heard, sent = Heard(), []

    async def ask() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"traceparent", traceparent.encode())] if traceparent else []
        scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": headers}
        await Traced(application)(scope, None, send)  # type: ignore[arg-type]

    with tracing.tracing(url, "MILLRACE_API_TRACES", heard):
        asyncio.run(ask())
    assert sent[0]["status"] == 207
    return heard.spans


def test_a_request_its_operation_and_its_reads_are_one_trace_below_the_callers() -> None:
    spans = {span.name: span for span in traced("http://collector", PARENT)}
    assert set(spans) == {"POST /graphql", "query Day", "cassandra"}
    request, run = spans["POST /graphql"], spans["query Day"]
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    assert run.parent.span_id == request.context.span_id
    assert request.attributes["http.response.status_code"] == 207
    assert (run.attributes["graphql.operation.name"], run.attributes["graphql.operation.type"]) == ("Day", "query")


def test_reads_that_run_at_once_stand_below_the_operation_and_not_below_each_other() -> None:
    spans = traced("http://collector")
    run = next(span for span in spans if span.name == "query Day")
    reads = [span for span in spans if span.name == "cassandra"]
    assert {span.attributes["db.query.text"] for span in reads} == {"one", "two"}
    assert {span.parent.span_id for span in reads} == {run.context.span_id}


def test_a_caller_who_does_not_record_is_not_recorded() -> None:
    assert traced("http://collector", UNSAMPLED) == []


def test_what_the_server_reads_for_itself_is_no_trace() -> None:
    heard = Heard()
    with tracing.tracing("http://collector", "MILLRACE_API_TRACES", heard), tracing.span("redis"):
        pass
    assert heard.spans == []


def test_without_a_collector_nothing_is_recorded() -> None:
    assert traced("", PARENT) == []


def test_without_the_packages_the_setting_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(SettingsError, match=r"MILLRACE_API_TRACES.*pip install 'millrace\[tracing\]'"),
        tracing.tracing("http://c", "MILLRACE_API_TRACES"),
    ):
        pass


def test_the_api_is_imported_without_the_packages() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import millrace_graphql.app"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.timeout(25)
def test_a_collector_that_does_not_answer_does_not_hold_up_a_stop() -> None:
    asked, answers = threading.Event(), threading.Event()

    class Silent(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            asked.set()
            answers.wait()  # by itself the SDK waits 30 s for it
            return SpanExportResult.FAILURE

    with tracing.tracing("http://collector", "MILLRACE_API_TRACES", Silent()), tracing.operation("Day", "query"):
        pass
    assert asked.is_set()
    answers.set()
