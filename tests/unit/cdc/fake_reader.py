"""A fake of ``mongo.RawReader`` with the server's behaviour at a change over 16 MB."""

from __future__ import annotations

from typing import Any

import bson

from millrace_cdc.errors import Oversize

START = f"82{1000:08X}{0:08X}2B02"


def token(number: int) -> str:
    return f"82{1000:08X}{number:08X}2B02"


class FakeReader:
    """Changes 1 to ``last``; a reply that would hold number ``large`` fails as a whole, as on MongoDB 6.0."""

    collection = "payments"
    exhausted = False

    def __init__(self, last: int, large: int) -> None:
        self.asked: list[int] = []
        self.token = START
        self._last, self._large = last, large

    def open(self, command: dict[str, Any]) -> bytes:
        resumed = command["pipeline"][0]["$changeStream"].get("resumeAfter")
        self.token = resumed["_data"] if resumed else START
        return self._reply("firstBatch", [])

    def more(self, batch_size: int, max_time_ms: int | None = None) -> bytes:
        self.asked.append(batch_size)
        after = int(self.token[10:18], 16)
        numbers = range(after + 1, min(self._last, after + batch_size) + 1)
        if self._large in numbers:
            raise Oversize("a change of payments is larger than 16 MB", token(self._large))
        self.token = token(numbers[-1]) if numbers else self.token
        return self._reply("nextBatch", list(numbers))

    def _reply(self, batch: str, numbers: list[int]) -> bytes:
        events = [
            {
                "_id": {"_data": token(each)},
                "operationType": "insert",
                "documentKey": {"_id": f"p{each}"},
                "fullDocument": {"_id": f"p{each}"},
            }
            for each in numbers
        ]
        return bson.encode({"cursor": {"id": 1, batch: events, "postBatchResumeToken": {"_data": self.token}}})

    def close(self) -> None:
        """Nothing to close."""
