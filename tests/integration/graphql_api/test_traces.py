"""Traces of the process as it is run, at a collector of OpenTelemetry's protocol: what was asked, run and read, in one tree."""

import contextlib
import gzip
import queue
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import serving, wait_for

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack
START = datetime(2026, 11, 10, 8, tzinfo=UTC)
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
"""Spans are sent after 100 ms and not after five seconds."""
QUERY = 'query Day($s: DateTime!) { report(merchantId: "traced", start: $s, currency: "USD") { gross } }'


@contextlib.contextmanager
def collector() -> Iterator[tuple[str, "queue.Queue[Any]"]]:
    """A collector's URL, and the spans that it is sent."""
    spans: queue.Queue[Any] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = ExportTraceServiceRequest()
            sent.ParseFromString(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            for resource in sent.resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        spans.put((names["service.name"], span))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Tree:
    """The spans of one trace, as they come in."""

    def __init__(self, spans: "queue.Queue[Any]") -> None:
        self._spans = spans
        self.found: list[Any] = []

    def wait(self, trace: str, *names: str) -> dict[str, Any]:
        """The first span of each name in a trace, once all are there."""
        deadline = time.monotonic() + 120
        while True:
            mine = {span.name: span for span in reversed(self.found) if span.trace_id.hex() == trace}
            if set(names) <= set(mine):
                return mine
            try:
                service, span = self._spans.get(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{names} and not {[(each.name, each.trace_id.hex()[:3]) for each in self.found]}") from None
            assert service == "millrace-api"
            self.found.append(span)


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_request_and_what_it_read_are_one_tree_below_the_callers_span(environ: dict[str, str], store: Store) -> None:
    store.merchant("traced", "USD", zone="UTC")
    store.report("traced", START, "USD", Written([Paid(5)]))
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", ["traced"], 600)
    headers = {"Authorization": f"Bearer {token}"}
    with collector() as (address, spans), serving({**environ, **SOON, "MILLRACE_API_TRACES": address}) as (url, _):
        wait_for(f"{url}/ready", 200)
        tree = Tree(spans)
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            trace = "0af7651916cd43dd8448eb211c80319c"
            parent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            answer = client.post("/graphql", json={"query": QUERY, "variables": {"s": START.isoformat()}}, headers=parent)
            assert answer.json() == {"data": {"report": {"gross": "5"}}}
            mine = tree.wait(trace, "POST /graphql", "query Day", "cassandra", "redis")
            request, run = mine["POST /graphql"], mine["query Day"]
            assert request.parent_span_id.hex() == "b7ad6b7169203331"
            assert attributes(request)["http.response.status_code"] == 200
            assert run.parent_span_id == request.span_id
            reads = [span for span in tree.found if span.trace_id.hex() == trace and span.name == "cassandra"]
            assert any(".reports" in attributes(span)["db.query.text"] for span in reads)
            known = {span.span_id for span in tree.found if span.trace_id.hex() == trace}
            assert all(span.parent_span_id in known for span in reads), "each stands below a span of its request"

            trace = "1af7651916cd43dd8448eb211c80319c"
            parent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            given = {"start": "2026-11-10T00:00:00Z", "end": "2026-11-12T00:00:00Z"}
            assert client.get("/v1/merchants/traced/export.csv", params=given, headers=parent).status_code == 200
            mine = tree.wait(trace, "GET /v1/merchants/traced/export.csv", "cassandra")
            # What a caller does not want recorded is not.
            parent = {"traceparent": "00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
            assert client.post("/graphql", json={"query": "{ viewer { role } }"}, headers=parent).status_code == 200
            trace = "3af7651916cd43dd8448eb211c80319c"
            parent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            assert client.post("/graphql", json={"query": "{ nothing }"}, headers=parent).status_code == 200
            tree.wait(trace, "POST /graphql")
        assert not [span for span in tree.found if span.trace_id.hex().startswith("2af")]
        told = "".join(str(span) for span in tree.found)
        assert token not in told
        assert "Bearer" not in told


def test_a_collector_that_is_away_costs_no_answer(environ: dict[str, str], store: Store) -> None:
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "operator", [], 600)
    with socket.create_server(("127.0.0.1", 0)) as away:
        away.settimeout(0)
        address = f"http://127.0.0.1:{away.getsockname()[1]}/v1/traces"
        patience = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}  # seconds in which a batch is tried again and again, at the end too
        with serving({**environ, **SOON, **patience, "MILLRACE_API_TRACES": address}) as (url, process):
            wait_for(f"{url}/ready", 200)

            def is_answered() -> None:
                headers = {"Authorization": f"Bearer {token}"}
                answer = httpx.post(f"{url}/graphql", json={"query": "{ viewer { role } }"}, headers=headers, timeout=30)
                assert answer.json() == {"data": {"viewer": {"role": "operator"}}}
                time.sleep(0.05)

            # First one that hangs up, so that we see that spans are sent; then none at all.
            deadline, tried = time.monotonic() + 120, False
            while not tried:
                is_answered()
                with contextlib.suppress(BlockingIOError):
                    away.accept()[0].close()
                    tried = True
                assert time.monotonic() < deadline, "no spans were sent"
            away.close()
            for _ in range(20):  # for longer than they are gathered
                is_answered()
            process.terminate()
            assert process.wait(timeout=100) == 0
