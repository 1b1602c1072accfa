"""A client of the collection API that knows which answers are final and which ask for another try."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from millrace_stack.errors import StackError

Line = dict[str, Any]
"""A line of the bulk endpoint: ``op`` and the fields of the command."""
_AGAIN = frozenset([408, 425, 429, 500, 502, 503, 504])
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Answer:
    """What became of one line: 201 written, 200 was there already, else refused with ``error``."""

    status: int
    error: str = ""

    @property
    def again(self) -> bool:
        """Whether the same line may be sent again with hope."""
        return self.status in _AGAIN


@dataclass
class Outcome:
    """What became of several lines, in their order, and how many tries were repeats."""

    answers: list[Answer]
    retries: int = 0
    reason: str = ""


@dataclass
class CollectionClient:
    """One connection to the collection API; use one per thread. ``patience`` is in seconds without any progress."""

    url: str
    key: str
    patience: float = 300.0
    stopped: threading.Event = field(default_factory=threading.Event)
    notify: Callable[[str], None] = lambda _: None
    """Told, once per outage, why lines are sent again."""

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=30.0, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def put(self, path: str, body: Line) -> None:
        """PUT a merchant or a user; tries again while the API is away.

        Raises:
            StackError: it was refused, or the API stayed away.
        """
        self._insist(lambda: self._put_once(path, body), path)

    def bulk(self, lines: Sequence[Line]) -> Outcome:
        """Post lines through /v1/payments/bulk until each has a final answer; order is kept among those sent again.

        Raises:
            StackError: the API stayed away longer than ``patience``, or the wait was stopped.
        """
        outcome = Outcome([Answer(503)] * len(lines))
        open_indexes = list(range(len(lines)))

        def attempt() -> str:
            answers = self._bulk_once([lines[index] for index in open_indexes])
            for index, answer in zip(open_indexes, answers, strict=True):
                outcome.answers[index] = answer
            left = [index for index in open_indexes if outcome.answers[index].again]
            open_indexes[:] = left
            return outcome.answers[left[0]].error or "answers 503" if left else ""

        outcome.retries, outcome.reason = self._insist(attempt, "/v1/payments/bulk")
        return outcome

    def single(self, line: Line) -> Outcome:
        """Post one command to its own path until it has a final answer.

        Raises:
            StackError: as ``bulk``.
        """
        outcome = Outcome([Answer(503)])

        def attempt() -> str:
            outcome.answers[0] = self._single_once(line)
            return outcome.answers[0].error or "answers 503" if outcome.answers[0].again else ""

        outcome.retries, outcome.reason = self._insist(attempt, "/v1/payments")
        return outcome

    def _insist(self, attempt: Callable[[], str], what: str) -> tuple[int, str]:
        """Call ``attempt`` until it gives no reason to call it again; (repeats, last reason)."""
        deadline, pause, repeats, last = time.monotonic() + self.patience, 0.2, 0, ""
        while True:
            try:
                reason = attempt()
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            if not reason:
                return repeats, last
            if repeats == 0:
                self.notify(f"collection API: {reason}; trying again")
            if time.monotonic() > deadline:
                raise StackError(f"{self.url}{what}: no answer for {self.patience:.0f} s ({reason}); see the log of the collection tier")
            if self.stopped.wait(pause):
                raise StackError(f"{self.url}{what}: stopped while waiting ({reason})")
            repeats, last, pause = repeats + 1, reason, min(pause * 2, _LONGEST_PAUSE)

    def _put_once(self, path: str, body: Line) -> str:
        response = self._http.put(path, json=body)
        if response.status_code in _AGAIN:
            return f"answers {response.status_code}"
        if response.is_error:
            raise StackError(f"PUT {path}: {response.status_code} {_detail(response)}")
        return ""

    def _bulk_once(self, lines: Sequence[Line]) -> list[Answer]:
        body = "".join(json.dumps(line) + "\n" for line in lines)
        response = self._http.post("/v1/payments/bulk", content=body, headers={"Content-Type": "application/x-ndjson"})
        if response.status_code != httpx.codes.OK:
            return [Answer(response.status_code, _detail(response))] * len(lines)
        answers = [json.loads(line) for line in response.text.splitlines() if line]
        if len(answers) != len(lines):
            return [Answer(503, f"{len(answers)} answers to {len(lines)} lines")] * len(lines)
        return [Answer(int(answer["status"]), _text(answer.get("error"))) for answer in answers]

    def _single_once(self, line: Line) -> Answer:
        body = {name: value for name, value in line.items() if name not in ("op", "paymentId")}
        if line["op"] == "payment":
            response = self._http.post("/v1/payments", json=body)
        elif line["op"] == "refund":
            response = self._http.post(f"/v1/payments/{line['paymentId']}/refunds", json=body)
        else:
            response = self._http.patch(f"/v1/payments/{line['paymentId']}", json=body)
        return Answer(response.status_code, _detail(response) if response.is_error else "")


def _detail(response: httpx.Response) -> str:
    try:
        return _text(response.json())
    except ValueError:
        return response.text[:200]


def _text(error: object) -> str:
    """One line of a problem+json object."""
    if not isinstance(error, dict):
        return "" if error is None else str(error)
    return str(error.get("detail") or error.get("title") or error)
