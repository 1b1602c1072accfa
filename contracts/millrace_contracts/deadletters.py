"""A dead letter: what could not be decoded, where it came from and why; nothing is dropped silently (I4)."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class DeadLetter(TypedDict):
    """Value (JSON) of the dead-letter topic; its key is the document's id where that is known."""

    stage: Literal["relay", "connect", "processors"]
    reason: str
    """One sentence that names the field, the value and what was expected."""
    collection: str
    at_ms: int
    token: NotRequired[str]
    """Resume token of the change (relay)."""
    topic: NotRequired[str]
    partition: NotRequired[int]
    offset: NotRequired[int]
    payload: str
    """The undecoded value: base64 of BSON (relay), the text of the Kafka value (processors), or nothing (connect)."""
