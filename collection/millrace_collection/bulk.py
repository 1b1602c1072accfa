"""The bulk endpoint: NDJSON in, one answer for each line out, in order.

Lines are read, validated and gathered into batches; while MongoDB takes one batch the next is read (bounded memory: two batches).
Within a batch payments are written before the refunds and changes of status that follow them, and the changes of one payment
in their order. Answers are spooled until the body is read to its end, since most clients read nothing before that.
When MongoDB goes away the batch and every later line answer 503: they can all be sent again. Where anything else fails, the lines
that cause it answer 500 and the others are carried out. A body with too many lines, too long answers or too little speed ends with
a last answer that says so; what was read of it has been carried out, and its rest is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import structlog
from pydantic import ValidationError

from millrace_collection.identity import Identity
from millrace_collection.lines import TooLong, lines
from millrace_collection.metrics import COMMANDS
from millrace_collection.models import LINE, PaymentLine, RefundLine
from millrace_collection.payments import Answer, NewPayment, Payments
from millrace_collection.problems import Problem, from_json, from_validation, unavailable, wrong
from millrace_collection.request_log import RequestLog
from millrace_collection.settings import CollectionSettings
from millrace_collection.spool import Spool
from millrace_collection.store import ApiKey, Change, RefundChange, StatusChange, StoreUnavailable
from millrace_contracts.values.json_text import MARK, JsonError, checked

MOST_FAILED = 20
"""So many commands may fail by themselves in one body; then the fault is not theirs, and nothing more is tried."""
_BLANK = (b"", MARK)
_KINDS = {NewPayment: "payment", RefundChange: "refund", StatusChange: "status"}
Command = NewPayment | Change


class Bulk:
    """One bulk request of one caller."""

    def __init__(
        self,
        payments: Payments,
        log: RequestLog,
        *,
        request_id: str,
        caller: ApiKey,
        identity: Identity,
        now: Callable[[], datetime],
        allowance: timedelta,
    ) -> None:
        self._payments = payments
        self._log = log
        self._request_id = request_id
        self._caller = caller
        self._identity = identity
        self._now = now
        self._allowance = allowance
        self._down = False
        self._failed = 0
        self.stopped: Problem | None = None
        """Why the body was not carried out to its end."""

    async def run(self, chunks: AsyncIterable[bytes], settings: CollectionSettings, id_of_line: Callable[[int], str]) -> Spool:
        """Carry the body out; returns the answers, to be read from the start. ``id_of_line`` names a payment that names no id.

        A body that is too long or too slow is carried out up to there: see ``stopped``, which its last answer tells.

        Raises:
            Problem: the answers could not be kept; says up to which line the body was carried out.
        """
        spool = Spool(settings.bulk_spool_bytes, settings.bulk_batch)
        flight: asyncio.Task[None] | None = None
        try:
            async with aclosing(self._batches(chunks, settings, id_of_line)) as batches:
                async for batch in batches:
                    if flight is not None:
                        await flight
                        flight = None
                    if spool.full:
                        self.stopped = _too_long(f"the answers are longer than {settings.bulk_spool_bytes:,} bytes", "bulk_spool_bytes")
                        break
                    flight = asyncio.create_task(self._flush(batch, spool))
            if flight is not None:
                await flight
            if self.stopped is not None:
                spool.end(self.stopped)
            spool.rewind()
        except BaseException as error:
            if flight is not None:
                await asyncio.wait([flight])
            spool.close()
            if isinstance(error, OSError):
                raise _answers_lost(error, spool) from error
            raise
        return spool

    async def _batches(
        self, chunks: AsyncIterable[bytes], settings: CollectionSettings, id_of_line: Callable[[int], str]
    ) -> AsyncGenerator[list[tuple[int, Command | Problem]], None]:
        """The lines of a body with their numbers, as commands; the last batch may be short."""
        batch: list[tuple[int, Command | Problem]] = []
        number, limit, size = 0, settings.max_line_bytes, settings.bulk_batch
        try:
            async for found in lines(chunks, limit):
                now = self._now()
                for line in found:
                    if number == settings.bulk_lines:
                        raise _too_long(f"the body has more than {number:,} lines", "bulk_lines")
                    number += 1
                    if isinstance(line, bytes) and line.strip() in _BLANK:
                        continue
                    batch.append((number, self._command(line, number, now, id_of_line, limit)))
                    if len(batch) >= size:
                        yield batch
                        batch = []
        except Problem as problem:
            self.stopped = problem
        yield batch

    def _command(
        self, line: bytes | TooLong, number: int, now: datetime, id_of_line: Callable[[int], str], limit: int
    ) -> Command | Problem:
        if isinstance(line, TooLong):
            return Problem(413, f"The line is longer than {limit} bytes")
        try:
            return self._checked(line, number, now, id_of_line)
        except JsonError as error:
            return from_json(error)
        except ValidationError as error:
            return from_validation(error)
        except Exception:
            structlog.get_logger().exception("bulk_line_failed", line=number)
            return self._fault()

    def _checked(self, line: bytes, number: int, now: datetime, id_of_line: Callable[[int], str]) -> Command | Problem:
        body = LINE.validate_json(checked(line, "The line"))
        latest = now + self._allowance
        if isinstance(body, PaymentLine):
            if body.paidAt > latest:
                return in_the_future("paidAt", body.paidAt)
            return NewPayment(body.id or id_of_line(number), body, now)
        if isinstance(body, RefundLine):
            if body.refundedAt > latest:
                return in_the_future("refundedAt", body.refundedAt)
            return RefundChange(body.paymentId, body.id, body.amount, body.refundedAt, now)
        return StatusChange(body.paymentId, body.status, now)

    async def _flush(self, batch: Sequence[tuple[int, Command | Problem]], spool: Spool) -> None:
        """Write one batch and spool its answers."""
        if not batch:
            return
        answers: dict[int, Answer] = {}
        commands: list[tuple[int, Command]] = []
        for number, item in batch:
            if isinstance(item, Problem):
                answers[number] = Answer(item.status, "", item)
            else:
                commands.append((number, item))
        if commands:
            await self._write(commands, answers)
            for number, command in commands:
                COMMANDS.labels(_KINDS[type(command)], answers[number].status).inc()
        for number, _ in batch:
            spool.add(number, answers[number])

    async def _write(self, commands: Sequence[tuple[int, Command]], answers: dict[int, Answer]) -> None:
        """Carry out one batch; whatever happens, each of its commands has an answer then."""
        first = commands[0][0]
        missing = unavailable()
        try:
            commands = await self._within_quota(commands, answers)
            self._log.accepted(self._request_id, self._caller.id, [command for _, command in commands], first)
            for step in steps(commands):
                await self._step(step, answers)
        except StoreUnavailable as error:
            if not self._down:
                structlog.get_logger().warning("store_unavailable", reason=str(error)[:200])
            self._down = True
        except Exception:
            # The request log, or a bug that meets every command: the lines answer for it, and the log tells where.
            structlog.get_logger().exception("bulk_failed")
            self._down, missing = True, self._fault()
        for number, _ in commands:
            answers.setdefault(number, Answer(missing.status, "", missing))
        try:
            self._log.answered(self._request_id, [answers[number] for number, _ in commands], first)
        except OSError:
            structlog.get_logger().exception("bulk_log_failed")

    async def _within_quota(self, commands: Sequence[tuple[int, Command]], answers: dict[int, Answer]) -> Sequence[tuple[int, Command]]:
        """The commands that the key's quota has left; the others are answered."""
        granted = len(commands) if self._down else await self._identity.granted(self._caller, len(commands))
        if granted < len(commands):
            over = self._identity.over_quota(self._caller)
            answers.update((number, Answer(over.status, "", over)) for number, _ in commands[granted:])
        return commands[:granted]

    async def _step(self, step: Sequence[tuple[int, Command]], answers: dict[int, Answer]) -> None:
        """Carry out commands together; where that fails, in halves, so that only those answer 500 that fail by themselves.

        A command that the failed attempt has carried out already is recognised by its id.
        """
        if self._down:
            raise StoreUnavailable("given up in this request")
        try:
            if isinstance(step[0][1], NewPayment):
                given = await self._payments.create(self._caller, [command for _, command in step if isinstance(command, NewPayment)])
            else:
                given = await self._payments.change(self._caller, [command for _, command in step if not isinstance(command, NewPayment)])
            answers.update(zip((number for number, _ in step), given, strict=True))
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(step) == 1:
                self._failed += 1
                if self._failed > MOST_FAILED:
                    raise
                trace = error if self._failed == 1 else None
                structlog.get_logger().error("bulk_line_failed", line=step[0][0], reason=repr(error)[:200], exc_info=trace)
                answers[step[0][0]] = Answer(500, "", self._fault())
        else:
            return
        if len(step) > 1:
            await self._step(step[: len(step) // 2], answers)
            await self._step(step[len(step) // 2 :], answers)

    def _fault(self) -> Problem:
        detail = f"An error of ours; it is logged under the request id {self._request_id}. Nothing is acknowledged: send the line again"
        return Problem(500, detail)


def _too_long(what: str, setting: str) -> Problem:
    return Problem(413, f"The body ends here: {what} ({CollectionSettings.variable(setting)}); send the rest in another request")


def _answers_lost(error: OSError, spool: Spool) -> Problem:
    counts = ", ".join(f"{count:,} answered {status}" for status, count in sorted(spool.counts.items())) or "none"
    detail = (
        f"The answers could not be kept ({error.strerror}). The body was carried out up to line {spool.told:,} ({counts}). Send it "
        "again: an id, or the Idempotency-Key, keeps a payment from being made twice"
    )
    return Problem(500, detail)


def steps(commands: Sequence[tuple[int, Command]]) -> list[list[tuple[int, Command]]]:
    """The writes of a batch in order: all payments, then waves of changes in which no payment stands twice."""
    payments = [entry for entry in commands if isinstance(entry[1], NewPayment)]
    waves: list[list[tuple[int, Command]]] = []
    seen: dict[str, int] = {}
    for entry in commands:
        if not isinstance(entry[1], NewPayment):
            wave = seen.get(entry[1].payment_id, 0)
            seen[entry[1].payment_id] = wave + 1
            if wave == len(waves):
                waves.append([])
            waves[wave].append(entry)
    return [payments, *waves] if payments else waves


def in_the_future(field: str, instant: datetime) -> Problem:
    """The refusal of an instant beyond this machine's clock and its allowance."""
    return wrong(field, instant.isoformat(), "lies in the future; check the clock, or whether the unit is milliseconds")
