"""The change stream between two points: the relay's own stream with an end, and without what only the live stream may say.

No low-water marks and no audit counts leave it: both are statements of the live stream, which a repetition must not make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace as replaced
from typing import Any

from millrace_cdc.errors import Oversize, RelayError, SourceLost
from millrace_cdc.events import EventForm
from millrace_cdc.mongo import RawReader
from millrace_cdc.portions import Portion
from millrace_cdc.progress import Position
from millrace_cdc.projection import stages
from millrace_cdc.replay.keystrings import instant
from millrace_cdc.replay.records import Replay, replay_key
from millrace_cdc.replies import Change, Decoded, Lookup, Reply, ReplyEncoder
from millrace_cdc.snapshot_source import Throttle
from millrace_cdc.stream import ChangeStream, change_stream
from millrace_cdc.tokens import position

Times = Callable[[float], bool]
"""Wait so many seconds or until a stop; whether it was asked for."""


class BoundedEncoder(ReplyEncoder):
    """Encodes replies from behind the start's token up to the end of a replay; ``done`` once the end is reached."""

    def __init__(self, collection: str, form: EventForm, lookup: Lookup, max_message_bytes: int, replay: Replay, batch_size: int) -> None:
        super().__init__(collection, form, lookup, max_message_bytes)
        self._replay, self._batch_size = replay, batch_size
        self.sent = replay.sent
        self.done = False

    def portion(self, decoded: Decoded, now_ms: int) -> tuple[Portion, Change | None]:
        """The portion of a reply or of a part of it, cut at the end."""
        kept = decoded.documents
        count = len(kept) + len(decoded.broken) if decoded.in_reply is None else decoded.in_reply
        beyond = bool(kept) and self._beyond(kept[-1]["_id"]["_data"])
        if beyond:
            kept = [change for change in kept if not self._beyond(change["_id"]["_data"])]
        if self._replay.start_token is not None and kept and kept[0]["_id"]["_data"] <= self._replay.start_token:
            kept = [change for change in kept if change["_id"]["_data"] > self._replay.start_token]
        made, control = super().portion(replaced(decoded, documents=kept), now_ms)
        if control is None and (beyond or self._reached(decoded.token, self._batch_size if decoded.more else count)):
            self.done = True
        self.sent += len(made.events)
        made.through_ms = None
        made.counts = {}
        return made, control

    def rest(self, token: str) -> None:
        """Learn that nothing more came behind a token: also one transaction that filled a whole reply has ended then."""
        self.done = self.done or (bool(token) and self._reached(token, 0))

    def singly(self) -> None:
        """Learn that replies hold one change each: the one at the end's own time may be followed by more of its transaction."""
        self._batch_size = 1

    def _beyond(self, token: str) -> bool:
        if self._replay.end_token is not None:
            return token > self._replay.end_token
        return position(token) > self._replay.end_at

    def _reached(self, token: str, count: int) -> bool:
        """Whether everything up to the end stands before a token that MongoDB gave after a reply of so many changes."""
        if self._replay.end_token is not None:
            return token >= self._replay.end_token
        at = position(token)
        # At the end's own time there may be more of one transaction, unless the reply was not full.
        return at > self._replay.end_at or (at == self._replay.end_at and count < self._batch_size)


class ReplayStream(ChangeStream):
    """A ``Source`` that finishes at the replay's end and keeps its rate."""

    def __init__(
        self,
        reader: RawReader,
        encoder: BoundedEncoder,
        namespace: str,
        replay: Replay,
        batch_size: int,
        queue_bytes: int,
        wait: Times,
        *,
        split: bool,
    ) -> None:
        super().__init__(reader, encoder, self._progress, self._ended, batch_size, queue_bytes, split=split)
        self._bounded, self._namespace, self._replay = encoder, namespace, replay
        self._throttle, self._wait = Throttle(replay.rate), wait
        self._begun = False

    @property
    def finished(self) -> bool:  # type: ignore[override]
        """Whether the end was reached."""
        return self._bounded.done

    def take(self, seconds: float) -> Portion | None:
        """The next portion, not before the rate allows it."""
        portion = super().take(seconds)
        if portion is not None and portion.events:
            pause = self._throttle.pause(len(portion.events))
            if pause > 0:
                self._wait(pause)
        return portion

    def _encode(self, reply: Reply) -> Portion | None:
        portion = super()._encode(reply)
        if not self._begun:
            # The opening reply holds nothing and repeats where the stream begins: that is not yet the end, also where the two are one.
            self._begun, self._bounded.done = True, False
        elif portion is None:
            self._bounded.rest(self._token)
        return portion

    def _one_by_one(self) -> None:
        self._bounded.singly()
        super()._one_by_one()

    def past(self, error: Oversize, before: str) -> RelayError:
        """The replay ends before a change over 16 MB, which only the live relay can go past for good."""
        advice = f"what came behind it can be replayed with --from {error.token}" if error.token else "name a point behind it"
        return Oversize(f"{error}. The replay ends before it, at token {before}; {advice}", error.token)

    def _progress(self, token: str, start_after: bool) -> tuple[str, bytes]:
        record = replaced(self._replay, token=token, sent=self._bounded.sent)
        return replay_key(self._namespace, self._replay.id), record.encode()

    def _ended(self, change: Change) -> tuple[Portion, RelayError | SourceLost]:
        token = change["_id"]["_data"]
        what, seconds = change["operationType"], position(token)[0]
        advice = f"what came behind it can be replayed with --from {seconds + 1}"
        return Portion(), RelayError(f"{self._namespace} saw a {what} at {instant(seconds)}; the replay ends before it, {advice}")


def open_stream(
    reader: RawReader,
    encoder: BoundedEncoder,
    namespace: str,
    replay: Replay,
    fields: Sequence[str],
    batch_size: int,
    queue_bytes: int,
    wait: Times,
    *,
    split: bool,
) -> ReplayStream:
    """The stream of a replay, from where its record says; ``split``: the server can split a change over 16 MB.

    Raises:
        SourceLost, RelayError: as MongoDB answers.
    """
    # Not resumed behind the start's token: MongoDB refuses a token whose change the filter hides (280). The stream opens at its time
    # instead, and the encoder leaves out what is not behind it. Tokens of the replay's own progress come from this very pipeline.
    start = Position(0, 1, "", 0, replay.token, None if replay.token else replay.start_at)
    pipeline: list[dict[str, Any]] = change_stream(start, [])
    # The filter sees whole images, the projection comes last: a filtered field need not be a captured one.
    captured = stages(fields)
    pipeline += [captured[0], *replay.filter.stages(), *captured[1:]]
    stream = ReplayStream(reader, encoder, namespace, replay, batch_size, queue_bytes, wait, split=split)
    stream.open(pipeline)
    return stream


def batch_of(rate: int, most: int) -> int:
    """Changes of one reply: a slow replay reads small ones, so that it stays even."""
    return most if not rate else max(1, min(most, rate // 4))
