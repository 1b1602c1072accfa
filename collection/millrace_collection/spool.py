"""The answers of a bulk body, one a line, kept until the body is read to its end: in memory, then in an unnamed file of TMPDIR.

Their bytes are bounded. A line of two bytes may have an answer a hundred times as long, so a bound of the body is none of them.
"""

from __future__ import annotations

from tempfile import SpooledTemporaryFile

import orjson

from millrace_collection.payments import Answer
from millrace_collection.problems import Problem

MEMORY_BYTES = 1 << 20
SHORT_BYTES = 256
"""The most that the answer of a line takes where its error is left out."""
_CHUNK = 1 << 16


class Spool:
    """Answers in the order of their lines; ``told`` is the last of these, ``counts`` how many have each status.

    ``full``: the answers of the batch in hand still fit, those that are errors without their words, and no further batch does.
    """

    def __init__(self, most_bytes: int, batch_size: int) -> None:
        self._file = SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed by whoever sends it
        self._left = most_bytes - (batch_size + 4) * SHORT_BYTES
        self.full = False
        self.told = 0
        self.counts: dict[int, int] = {}

    def add(self, number: int, answer: Answer) -> None:
        """Keep one answer.

        Raises:
            OSError: it could not be written.
        """
        self.counts[answer.status] = self.counts.get(answer.status, 0) + 1
        self.told = number
        line = _line(number, answer)
        self._left -= len(line)
        if self._left < 0:
            self.full = True
            if answer.problem is not None:
                line = _dumped(number, answer, {"detail": "Its words are left out: the answers are too long", "errors": []})
        self._file.write(line)

    def end(self, problem: Problem) -> None:
        """Tell in one more line why the body ends here; it has the number of the first line that was not carried out."""
        detail = f"{problem.detail}. The lines before this one were carried out as answered, this one and all after it were not"
        number = self.told + 1
        self._file.write(_line(number, Answer(problem.status, "", Problem(problem.status, detail, retry_after=problem.retry_after))))

    def rewind(self) -> None:
        """Go to the first answer."""
        self._file.seek(0)

    def read(self) -> bytes:
        """Some of the next answers; nothing at the end."""
        return self._file.read(_CHUNK)

    def close(self) -> None:
        """Give memory and file back."""
        self._file.close()


def _line(number: int, answer: Answer) -> bytes:
    problem = answer.problem
    if problem is None:
        return b'{"line":%d,"status":%d,"id":"%s"}\n' % (number, answer.status, answer.id.encode())
    try:
        return _dumped(number, answer, {"detail": problem.detail, "errors": [item.as_json() for item in problem.errors]})
    except (TypeError, ValueError):
        # A value that JSON has not, such as a lone surrogate: the answer goes without it.
        detail = "A value of this line cannot be shown; see that each is text, a number, an object or a list of JSON"
        return _dumped(number, answer, {"detail": detail, "errors": []})


def _dumped(number: int, answer: Answer, error: dict[str, object]) -> bytes:
    identified = {"id": answer.id} if answer.id else {}
    again = answer.problem.retry_after if answer.problem else None
    told = error if again is None else {**error, "retryAfter": again}
    return orjson.dumps({"line": number, "status": answer.status, **identified, "error": told}) + b"\n"
