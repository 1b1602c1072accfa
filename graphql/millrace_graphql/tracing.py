"""OpenTelemetry traces, off unless MILLRACE_API_TRACES names a collector: a span for each request, and below it one for each GraphQL
operation that is run and each call of Cassandra and Redis. A caller's traceparent is gone on with, and its decision whether to record.

The packages are an extra of their own (pip install 'millrace[tracing]'); without them, and while traces are off, a span costs a
look at one variable.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace_contracts.settings import SettingsError

STOP_SECONDS = 3.0
"""How long a stop waits for the last spans to be sent."""
_tracer: Any = None
_NO_SPAN: AbstractContextManager[None] = nullcontext()


def enabled() -> bool:
    """Whether spans are recorded: where each microsecond counts, ask before a span is described."""
    return _tracer is not None


def span(name: str, **attributes: str) -> AbstractContextManager[Any]:
    """A span below the one that is open; none where none is, as of our own looks at the servers every second, and while traces are off."""
    if _tracer is None or not _is_within_a_span():
        return _NO_SPAN
    opened: AbstractContextManager[Any] = _tracer.start_as_current_span(name, attributes=attributes, kind=_kinds().CLIENT)
    return opened


def operation(name: str | None, kind: str) -> AbstractContextManager[Any]:
    """The span of a GraphQL operation that is run."""
    if _tracer is None:
        return _NO_SPAN
    attributes = {"graphql.operation.type": kind, "graphql.operation.name": (name or "")[:60]}
    opened: AbstractContextManager[Any] = _tracer.start_as_current_span(f"{kind} {name or ''}"[:80].strip(), attributes=attributes)
    return opened


@contextmanager
def tracing(url: str, variable: str, exporter: Any = None) -> Iterator[None]:
    """Record spans while this is open, and send them to a collector's URL; off where that is empty. Tests give their own exporter.

    Raises:
        SettingsError: the packages are not installed.
    """
    global _tracer
    if not url:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise SettingsError(variable, f"{url}: traces need {error.name}; pip install 'millrace[tracing]' or leave it empty") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "millrace-api"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=url)))
    _tracer = provider.get_tracer("millrace_graphql")
    try:
        yield
    finally:
        _tracer = None
        # A collector that does not answer may not hold up the stop: the last spans are then lost, as they are when it is away.
        last = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(STOP_SECONDS)


class Traced:
    """An application with a span for each HTTP request, below the caller's where it sends one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if _tracer is None or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
        attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
        parent = TraceContextTextMapPropagator().extract(carrier)
        name = f"{scope['method']} {scope['path']}"[:80]
        with _tracer.start_as_current_span(name, context=parent, kind=_kinds().SERVER, attributes=attributes) as opened:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    opened.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, told)


_CARRIED = frozenset([b"traceparent", b"tracestate"])


def _is_within_a_span() -> bool:
    from opentelemetry.trace import get_current_span

    return bool(get_current_span().get_span_context().is_valid)


def _kinds() -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind
