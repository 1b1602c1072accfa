"""/v1/merchants and /v1/users: the profiles that payments refer to. PUT writes a profile whole and is idempotent by nature."""

from __future__ import annotations

from datetime import UTC, datetime, time

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace_collection.http import json_response, parse, read_body, request_id, services
from millrace_collection.identity import beyond
from millrace_collection.models import LONGEST_USER_ID, MerchantBody, UserBody
from millrace_collection.problems import Problem, wrong
from millrace_collection.store import Document
from millrace_contracts.documents import MERCHANTS, SCHEMA_VERSION, USER_SENSITIVE_FIELDS, USERS
from millrace_contracts.identity import SCOPE_MERCHANTS_READ, SCOPE_MERCHANTS_WRITE, SCOPE_USERS_READ, SCOPE_USERS_WRITE
from millrace_contracts.values.identifiers import no_control, no_dot_segment, path_id


async def put_merchant(request: Request) -> Response:
    """PUT /v1/merchants/{id}: 201 where it is new, else 200."""
    at = services(request)
    merchant_id: str = request.path_params["id"]
    await _merchants_key(request, SCOPE_MERCHANTS_WRITE, merchant_id)
    try:
        path_id(merchant_id)
    except ValueError as error:
        raise wrong("id", merchant_id, str(error)) from None
    body = parse(MerchantBody, await read_body(request, at.settings.max_body_bytes))
    document = {"_id": merchant_id, **_fields(body)}
    created = await at.store.put(MERCHANTS, document, MerchantBody.model_fields, at.now())
    at.directory.forget_merchant(merchant_id)
    return json_response({"id": merchant_id}, 201 if created else 200)


async def put_user(request: Request) -> Response:
    """PUT /v1/users/{id}: the raw platform id in the path is kept in MongoDB only; the answer names the customer key (I12)."""
    at = services(request)
    await _users_key(request, SCOPE_USERS_WRITE)
    user_id = _user_id(request)
    body = parse(UserBody, await read_body(request, at.settings.max_body_bytes))
    key = at.directory.key_of(user_id)
    document = {"_id": key, "userId": user_id, **_fields(body)}
    if body.dateOfBirth is not None:
        if body.dateOfBirth > at.now().date():
            raise wrong("dateOfBirth", body.dateOfBirth, "lies in the future")
        if body.dateOfBirth.year < 1850:
            raise wrong("dateOfBirth", body.dateOfBirth, "lies before 1850")
        document["dateOfBirth"] = datetime.combine(body.dateOfBirth, time(), UTC)
    created = await at.store.put(USERS, document, UserBody.model_fields, at.now())
    at.directory.forget_user(key)
    return json_response({"key": key, "requestId": request_id(request)}, 201 if created else 200)


async def read_merchant(request: Request) -> Response:
    """GET /v1/merchants/{id}."""
    at = services(request)
    merchant_id: str = request.path_params["id"]
    await _merchants_key(request, SCOPE_MERCHANTS_READ, merchant_id)
    found = (await at.store.merchants([merchant_id])).get(merchant_id)
    if found is None:
        raise Problem(404, f"id: there is no merchant {merchant_id}")
    return json_response({"id": merchant_id, **{name: value for name, value in found.items() if name != "_id"}})


async def read_user(request: Request) -> Response:
    """GET /v1/users/{id}: the profile without its sensitive fields and without the customer key (I12)."""
    at = services(request)
    await _users_key(request, SCOPE_USERS_READ)
    key = at.directory.key_of(_user_id(request))
    found = (await at.store.users([key])).get(key)
    shown = None if found is None else {name: value for name, value in found.items() if name not in USER_SENSITIVE_FIELDS}
    if shown is None:
        raise Problem(404, "id: there is no such user")
    return json_response({name: value for name, value in shown.items() if name != "_id"})


async def _merchants_key(request: Request, scope: str, merchant_id: str) -> None:
    at = services(request)
    key = await at.identity.require(request.headers.get("authorization"), scope)
    if not key.opens(merchant_id):
        raise beyond(key, f"merchant {merchant_id}")
    await at.identity.charge(key)


async def _users_key(request: Request, scope: str) -> None:
    """A user is no merchant's own: a key that is bound to merchants opens none."""
    at = services(request)
    key = await at.identity.require(request.headers.get("authorization"), scope)
    if key.merchants:
        raise beyond(key, "users, who belong to no merchant")
    await at.identity.charge(key)


def _user_id(request: Request) -> str:
    user_id: str = request.path_params["id"]
    if not 1 <= len(user_id) <= LONGEST_USER_ID:
        raise Problem(422, f"id: a user id has 1 to {LONGEST_USER_ID} characters")
    for check, status in ((no_control, 400), (no_dot_segment, 422)):
        try:
            check(user_id)
        except ValueError as error:
            raise Problem(status, f"id: {error}") from None  # without the value: raw ids are not repeated (I12)
    return user_id


def _fields(body: BaseModel) -> Document:
    return {**body.model_dump(exclude_none=True), "schemaVersion": SCHEMA_VERSION}


ROUTES = [
    Route("/v1/merchants/{id}", put_merchant, methods=["PUT"]),
    Route("/v1/merchants/{id}", read_merchant, methods=["GET"]),
    # A platform's user ids may hold slashes, which arrive here unescaped.
    Route("/v1/users/{id:path}", put_user, methods=["PUT"]),
    Route("/v1/users/{id:path}", read_user, methods=["GET"]),
]
