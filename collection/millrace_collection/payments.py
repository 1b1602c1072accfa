"""Payments: create, refund, change of status. The same steps serve one request and a batch of a bulk body."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from millrace_collection.directory import Directory
from millrace_collection.identity import beyond
from millrace_collection.models import PaymentBody
from millrace_collection.problems import FieldError, Problem, wrong
from millrace_collection.store import ApiKey, Change, Document, RefundChange, StatusChange, Store
from millrace_contracts.documents import SCHEMA_VERSION


class NewPayment(NamedTuple):
    """A payment to create under an id that is settled before anything is written."""

    id: str
    body: PaymentBody
    at: datetime


class Answer(NamedTuple):
    """201 was written by this request, 200 stood there already with equal content, else ``problem`` says why not."""

    status: int
    id: str
    problem: Problem | None = None


class Payments:
    """The payment commands on a store."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store = store
        self._directory = directory

    async def create(self, caller: ApiKey, commands: Sequence[NewPayment]) -> list[Answer]:
        """Write payments and answer each, in order; a 201 stands for a majority (I1).

        Those of merchants that the caller's key does not open are refused before anything is looked up.

        Raises:
            StoreUnavailable: nothing is acknowledged.
        """
        # 1. Look up what the payments refer to, once for all of them.
        known = await self._directory.known_merchants({each.body.merchantId for each in commands if caller.opens(each.body.merchantId)})
        keys = {command.body.userId: self._directory.key_of(command.body.userId) for command in commands if command.body.userId}
        users = await self._directory.users(set(keys.values())) if keys else {}
        # 2. Build the documents of those that may be written.
        answers: dict[int, Answer] = {}
        indexes: list[int] = []
        built: list[Document] = []
        for index, command in enumerate(commands):
            if not caller.opens(command.body.merchantId):
                answers[index] = _refused(command.id, beyond(caller, f"merchant {command.body.merchantId}"))
                continue
            if command.body.merchantId not in known:
                answers[index] = _refused(command.id, _unknown_merchant(command.body.merchantId))
                continue
            key = keys[command.body.userId] if command.body.userId else None
            indexes.append(index)
            built.append(document(command, key, users[key] if key else {}))
        # 3. Write them; compare those whose id is taken.
        outcomes = await self._store.insert_payments(built) if built else []
        taken = [entry["_id"] for entry, outcome in zip(built, outcomes, strict=True) if outcome == "exists"]
        stored = await self._store.payments(taken) if taken else {}
        written = {entry["_id"] for entry, outcome in zip(built, outcomes, strict=True) if outcome == "inserted"}
        for index, entry, outcome in zip(indexes, built, outcomes, strict=True):
            if outcome == "inserted":
                answers[index] = Answer(201, entry["_id"])
            elif outcome == "exists":
                there = stored.get(entry["_id"])
                if there is not None and not caller.opens(there["merchantId"]):
                    answers[index] = _refused(entry["_id"], Problem(409, f"id: {entry['_id']} is taken; choose another one"))
                else:
                    answers[index] = _existing(entry, there, commands[index].body, twice=entry["_id"] in written)
            else:
                problem = Problem(422, "The document does not fit the collection's validator; is `millrace mongo-init apply` current?")
                answers[index] = _refused(entry["_id"], problem)
        return [answers[index] for index in range(len(commands))]

    async def change(self, caller: ApiKey, changes: Sequence[Change]) -> list[Answer]:
        """Apply refunds and changes of status, at most one for each payment, and answer each in order.

        Raises:
            StoreUnavailable: nothing is acknowledged.
        """
        before = await self._store.payments({change.payment_id for change in changes})
        answers = [_judged(caller, before.get(change.payment_id), change) for change in changes]
        allowed = [change for change, answer in zip(changes, answers, strict=True) if answer is None]
        if allowed and await self._store.change_payments(allowed) != len(allowed):
            # Another request came between, or a retried write had been made already: the stored payment decides.
            after = await self._store.payments({change.payment_id for change in allowed})
            lost = Problem(409, "Another request changed the payment at the same time; send this one again", retry_after=1)
            for index, change in enumerate(changes):
                if answers[index] is None and not _holds(after.get(change.payment_id), change):
                    answers[index] = judge(after.get(change.payment_id), change) or _refused(_id_of(change), lost)
        return [answer or Answer(201, _id_of(change)) for change, answer in zip(changes, answers, strict=True)]


def document(command: NewPayment, key: str | None, user: Document) -> Document:
    """The payment as MongoDB holds it, with the user's snapshot; a device of the payment goes before the user's own."""
    body = command.body
    payment: Document = {
        "_id": command.id,
        "merchantId": body.merchantId,
        "amount": body.amount,
        "currency": body.currency,
        "method": body.method,
        "points": {"used": body.points.used, "earned": body.points.earned},
        "status": body.status,
        "paidAt": body.paidAt,
        "refunds": [],
        "createdAt": command.at,
        "updatedAt": command.at,
        "schemaVersion": SCHEMA_VERSION,
    }
    if key is not None:
        payment["user"] = {"id": body.userId, "key": key, **user}
    if body.device is not None:
        payment.setdefault("user", {})["device"] = body.device.document()
    return payment


def _judged(caller: ApiKey, payment: Document | None, change: Change) -> Answer | None:
    """As ``judge``; a bound key learns nothing of payments of other merchants, not even whether they exist."""
    if caller.merchants and (payment is None or not caller.opens(payment["merchantId"])):
        return _refused(_id_of(change), beyond(caller, f"payment {change.payment_id}"))
    return judge(payment, change)


def judge(payment: Document | None, change: Change) -> Answer | None:
    """What a stored payment says to a change: None where it may be made, 200 where it was made before, else the refusal."""
    if payment is None:
        return _refused(_id_of(change), wrong("paymentId", change.payment_id, "no such payment", 404))
    if isinstance(change, StatusChange):
        return _judge_status(payment, change)
    return _judge_refund(payment, change)


def _judge_status(payment: Document, change: StatusChange) -> Answer | None:
    if payment["status"] == change.status:
        return Answer(200, change.payment_id)
    if payment["status"] != "pending":
        message = f"the payment is {payment['status']}; only a pending payment changes its status"
        return _refused(change.payment_id, wrong("status", change.status, message, 409))
    return None


def _judge_refund(payment: Document, change: RefundChange) -> Answer | None:
    for refund in payment["refunds"]:
        if refund["id"] == change.id:
            if refund["amount"] == change.amount and refund["refundedAt"] == change.refunded_at:
                return Answer(200, change.id)
            return _refused(change.id, wrong("id", change.id, "the payment has a refund with this id and other content", 409))
    if payment["status"] != "succeeded":
        message = f"the payment is {payment['status']}; only a succeeded payment is refunded"
        return _refused(change.id, wrong("paymentId", change.payment_id, message, 409))
    left = payment["amount"] - sum(refund["amount"] for refund in payment["refunds"])
    if change.amount > left:
        return _refused(change.id, wrong("amount", change.amount, f"more than the {left} that are left of the payment"))
    return None


def _holds(payment: Document | None, change: Change) -> bool:
    answer = None if payment is None else judge(payment, change)
    return answer is not None and answer.status == 200


def _existing(wanted: Document, stored: Document | None, body: PaymentBody, *, twice: bool) -> Answer:
    """Answer for a taken id. A document of this very instant is our own first attempt, whose answer was lost.

    ``twice``: the id stands twice in these commands, and another of them was written.
    """
    if stored is None:
        problem = Problem(503, "A payment with this id is being written; send the same request again", retry_after=1)
        return _refused(wanted["_id"], problem)
    different = differences(wanted, stored, body)
    if different:
        errors = [FieldError(name, value, "differs from the payment with this id") for name, value in different.items()]
        return _refused(wanted["_id"], Problem(409, f"id: {wanted['_id']} is a payment with other content", errors))
    ours = stored["createdAt"] == wanted["createdAt"] and not twice
    return Answer(201 if ours else 200, wanted["_id"])


def differences(wanted: Document, stored: Document, body: PaymentBody) -> dict[str, object]:
    """What a repeated creation says otherwise. Refunds and a status since do not count, nor does a changed user profile."""
    found: dict[str, object] = {}
    for name in ("merchantId", "amount", "currency", "method", "points", "paidAt"):
        if wanted[name] != stored[name]:
            found[name] = wanted[name]
    if wanted["status"] not in (stored["status"], "pending"):
        found["status"] = wanted["status"]
    if body.userId != stored.get("user", {}).get("id"):
        found["userId"] = body.userId
    if body.device is not None and wanted["user"]["device"] != stored.get("user", {}).get("device"):
        found["device"] = wanted["user"]["device"]
    return found


def _unknown_merchant(merchant_id: str) -> Problem:
    return wrong("merchantId", merchant_id, "no such merchant; make it with PUT /v1/merchants/{id} first")


def _refused(identifier: str, problem: Problem) -> Answer:
    return Answer(problem.status, identifier, problem)


def _id_of(change: Change) -> str:
    return change.id if isinstance(change, RefundChange) else change.payment_id
