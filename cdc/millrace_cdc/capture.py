"""What is captured by one stream, and whether that is what its saved position is for."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_cdc.errors import Misconfigured
from millrace_cdc.progress import Position, Records, position_key
from millrace_cdc.projection import Share
from millrace_cdc.sink import Topics


@dataclass(frozen=True)
class Capture:
    """The fixed facts of one run."""

    database: str
    collection: str
    share: Share
    fields: tuple[str, ...]
    fingerprint: str
    topics: Topics
    max_message_bytes: int

    @property
    def namespace(self) -> str:
        """``<database>.<collection>``."""
        return f"{self.database}.{self.collection}"

    @property
    def key(self) -> str:
        """Key of this stream's position."""
        return position_key(self.namespace, self.share.stream)

    def position(self, token: str | None = None, at: tuple[int, int] | None = None, *, stream: int | None = None) -> Position:
        """A position of this stream, or of another one."""
        number = self.share.stream if stream is None else stream
        return Position(number, self.share.streams, self.fingerprint, self.topics.partitions, token, at)


def check(capture: Capture, records: Records) -> None:
    """Compare what is recorded with what is configured.

    Raises:
        Misconfigured: names what has changed and what to do.
    """
    for key, record in records.items():
        if key.startswith(f"{capture.namespace}/stream/"):
            _check(capture, Position.decode(record))


def _check(capture: Capture, position: Position) -> None:
    if position.fingerprint != capture.fingerprint:
        raise Misconfigured(
            f"the saved position of {capture.namespace} is for another pipeline ({position.fingerprint}, now {capture.fingerprint}): "
            "captured fields or operations have changed; events before it have the old form. `millrace relay migrate` accepts the new one"
        )
    if position.partitions != capture.topics.partitions:
        raise Misconfigured(
            f"{capture.topics.changes} had {position.partitions} partitions and has {capture.topics.partitions}: the same key would go to "
            "another partition. Let its readers catch up, then `millrace relay migrate` accepts it"
        )
    if position.streams != capture.share.streams:
        raise Misconfigured(
            f"{capture.namespace} is captured by {position.streams} streams and {capture.share.streams} were asked for; "
            f"`millrace relay migrate --streams {capture.share.streams}` changes it without loss"
        )
