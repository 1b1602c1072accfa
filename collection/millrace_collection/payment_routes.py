"""/v1/payments: create, refund, change status, bulk, read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from millrace_collection.bulk import Bulk, in_the_future
from millrace_collection.http import bulk_parts, json_response, parse, read_body, request_id, services
from millrace_collection.idempotency import Stored
from millrace_collection.identity import beyond
from millrace_collection.keys import derived_key
from millrace_collection.metrics import COMMANDS
from millrace_collection.models import PaymentBody, RefundBody, StatusBody
from millrace_collection.payments import Answer, NewPayment
from millrace_collection.problems import Problem
from millrace_collection.services import Services
from millrace_collection.spool import Spool
from millrace_collection.store import ApiKey, Change, RefundChange, StatusChange
from millrace_contracts.identity import SCOPE_PAYMENTS_READ, SCOPE_PAYMENTS_WRITE
from millrace_runtime.bodies import CLOSE

NDJSON = "application/x-ndjson"
LINGER_SECONDS = 5.0
"""So long the rest of a body is thrown away after its answers were sent: closed at once, a connection may lose them."""


async def create(request: Request) -> Response:
    """POST /v1/payments."""
    at = services(request)
    key = await at.identity.require(request.headers.get("authorization"), SCOPE_PAYMENTS_WRITE)
    raw = await read_body(request, at.settings.max_body_bytes)
    body = parse(PaymentBody, raw)
    if body.paidAt > at.latest:
        raise in_the_future("paidAt", body.paidAt)

    async def execute(reserved_id: str) -> Stored:
        command = NewPayment(body.id or reserved_id, body, at.now())
        await at.identity.charge(key)
        at.request_log.accepted(request_id(request), key.id, [command])
        (answer,) = await at.payments.create(key, [command])
        return _stored(request, "payment", answer, {"id": answer.id})

    stored = await at.idempotency.run(key.id, request.headers.get("idempotency-key"), "POST payments", raw, execute)
    location = f"/v1/payments/{orjson.loads(stored.body)['id']}"
    return json_response(stored.body, stored.status, {"Location": location})


async def refund(request: Request) -> Response:
    """POST /v1/payments/{id}/refunds."""
    at = services(request)
    key = await at.identity.require(request.headers.get("authorization"), SCOPE_PAYMENTS_WRITE)
    raw = await read_body(request, at.settings.max_body_bytes)
    body = parse(RefundBody, raw)
    payment_id: str = request.path_params["id"]
    if body.refundedAt > at.latest:
        raise in_the_future("refundedAt", body.refundedAt)

    async def execute(reserved_id: str) -> Stored:
        change = RefundChange(payment_id, body.id or reserved_id, body.amount, body.refundedAt, at.now())
        return await _change(request, key, "refund", change, {"id": change.id, "paymentId": payment_id})

    target = f"POST payments/{payment_id}/refunds"
    stored = await at.idempotency.run(key.id, request.headers.get("idempotency-key"), target, raw, execute)
    return json_response(stored.body, stored.status)


async def set_status(request: Request) -> Response:
    """PATCH /v1/payments/{id}."""
    at = services(request)
    key = await at.identity.require(request.headers.get("authorization"), SCOPE_PAYMENTS_WRITE)
    raw = await read_body(request, at.settings.max_body_bytes)
    body = parse(StatusBody, raw)
    payment_id: str = request.path_params["id"]

    async def execute(_reserved_id: str) -> Stored:
        change = StatusChange(payment_id, body.status, at.now())
        stored = await _change(request, key, "status", change, {"id": payment_id, "status": body.status})
        return Stored(200, stored.body)

    target = f"PATCH payments/{payment_id}"
    stored = await at.idempotency.run(key.id, request.headers.get("idempotency-key"), target, raw, execute)
    return json_response(stored.body, stored.status)


async def _change(request: Request, caller: ApiKey, kind: str, change: Change, content: dict[str, Any]) -> Stored:
    at = services(request)
    await at.identity.charge(caller)
    at.request_log.accepted(request_id(request), caller.id, [change])
    (answer,) = await at.payments.change(caller, [change])
    return _stored(request, kind, answer, content)


def _stored(request: Request, kind: str, answer: Answer, content: dict[str, Any]) -> Stored:
    services(request).request_log.answered(request_id(request), [answer])
    COMMANDS.labels(kind, answer.status).inc()
    if answer.problem is not None:
        raise answer.problem
    return Stored(answer.status, orjson.dumps(content))


async def bulk(request: Request) -> Response:
    """POST /v1/payments/bulk. With an Idempotency-Key the ids of lines without one follow from it and the line's number."""
    at = services(request)
    key = await at.identity.require(request.headers.get("authorization"), SCOPE_PAYMENTS_WRITE)
    idempotency_key = request.headers.get("idempotency-key")

    def id_of_line(number: int) -> str:
        return at.new_key() if idempotency_key is None else derived_key(key.id, idempotency_key, str(number))

    work = Bulk(
        at.payments,
        at.request_log,
        request_id=request_id(request),
        caller=key,
        identity=at.identity,
        now=at.now,
        allowance=at.allowance,
    )
    settings = at.settings
    with _place(at, key) as place:
        spool = await work.run(bulk_parts(request, settings.bulk_seconds), settings, id_of_line)
        return _Told(spool, work.stopped, settings.bulk_seconds, place.pop_all())


@contextmanager
def _place(at: Services, key: ApiKey) -> Iterator[ExitStack]:
    """One of the key's bulk requests at a time; whoever takes the stack over gives it back."""
    if at.bulk_open[key.id] >= at.settings.bulk_per_key:
        detail = f"The API key {key.name!r} has {at.bulk_open[key.id]} bulk requests in hand here, the most it may; send this one later"
        raise Problem(429, detail, retry_after=1, headers=CLOSE)
    at.bulk_open[key.id] += 1
    with ExitStack() as place:
        place.callback(lambda: at.bulk_open.subtract([key.id]))
        yield place


class _Told(StreamingResponse):
    """The answers of a bulk body. They are sent within a total time, however slowly they are read; then spool and place are free."""

    def __init__(self, spool: Spool, stopped: Problem | None, seconds: float, held: ExitStack) -> None:
        self._seconds = seconds
        self._held = held
        self._stopped = stopped is not None
        held.callback(spool.close)
        content = iter(spool.read, b"")
        super().__init__(content, stopped.status if stopped else 200, CLOSE if stopped else None, media_type=NDJSON)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            try:
                async with asyncio.timeout(self._seconds):
                    await (self._answer_unread(receive, send) if self._stopped else super().__call__(scope, receive, send))
            except TimeoutError:
                raise ClientDisconnect from None  # whoever does not read is as good as gone

    async def _answer_unread(self, receive: Receive, send: Send) -> None:
        """Send the answers while the rest of the body is thrown away: most clients read nothing before they have sent all."""
        rest = asyncio.create_task(_throw_away(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for chunk in self.body_iterator:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.wait({rest}, timeout=LINGER_SECONDS)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            rest.cancel()


async def _throw_away(receive: Receive) -> None:
    while (await receive()).get("more_body", False):
        pass


async def read(request: Request) -> Response:
    """GET /v1/payments/{id}: the payment without anything of its customer (I12)."""
    at = services(request)
    key = await at.identity.require(request.headers.get("authorization"), SCOPE_PAYMENTS_READ)
    await at.identity.charge(key)
    payment_id: str = request.path_params["id"]
    found = (await at.store.payments([payment_id])).get(payment_id)
    if key.merchants and (found is None or not key.opens(found["merchantId"])):
        raise beyond(key, f"payment {payment_id}")
    if found is None:
        raise Problem(404, f"id: there is no payment {payment_id}")
    found["id"] = found.pop("_id")
    found.pop("user", None)
    return json_response(found)


ROUTES = [
    Route("/v1/payments", create, methods=["POST"]),
    Route("/v1/payments/bulk", bulk, methods=["POST"]),
    Route("/v1/payments/{id}/refunds", refund, methods=["POST"]),
    Route("/v1/payments/{id}", set_status, methods=["PATCH"]),
    Route("/v1/payments/{id}", read, methods=["GET"]),
]
