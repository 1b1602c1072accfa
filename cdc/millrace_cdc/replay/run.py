"""Carry a replay out: fence a predecessor, read how far it came, then stream to the end; what may pass is tried again.

The same order as the relay's makes it exactly once for a reader of committed records, however often it is killed and resumed (I2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

import structlog

from millrace_cdc.audit import Counts
from millrace_cdc.capture import Capture
from millrace_cdc.errors import HistoryLost, SourceLost, TransactionAborted, Unavailable
from millrace_cdc.events import EventForm
from millrace_cdc.mongo import Client, RawReader, now_ms, splits, translated
from millrace_cdc.oplog import read_oplog
from millrace_cdc.portions import Sink, Source
from millrace_cdc.progress import decode_record
from millrace_cdc.projection import projection_of
from millrace_cdc.pump import Committed, Pace, Pump
from millrace_cdc.replay.keystrings import instant
from millrace_cdc.replay.records import Replay, replay_key
from millrace_cdc.replay.stream import BoundedEncoder, batch_of, open_stream
from millrace_cdc.settings import RelaySettings
from millrace_cdc.tokens import position as time_of
from millrace_contracts.values.bson_json import CODEC, key_text
from millrace_runtime.stopping import StopSignal

log = structlog.get_logger()
Observe = Callable[[Replay, Committed], None]


@dataclass(frozen=True)
class Ended:
    """How a replay ended; ``finished`` is False after a stop."""

    replay: Replay
    dead_letters: int
    seconds: float
    finished: bool


class Runner:
    """Runs one replay into a sink."""

    def __init__(
        self, capture: Capture, client: Client, sink: Sink, settings: RelaySettings, replay: Replay, stop: StopSignal, observe: Observe
    ) -> None:
        self._capture, self._client, self._sink, self._settings = capture, client, sink, settings
        self._replay, self._stop, self._observe = replay, stop, observe
        self._key = replay_key(capture.namespace, replay.id)
        self._dead_letters = 0
        self._failed_since: float | None = None
        pace = Pace(settings.transaction_events, settings.transaction_ms / 1000, settings.linger_ms / 1000, settings.idle_ms / 1000)
        self._pump = Pump(sink, pace, stop, self._committed, lambda: None, _no_marker, _no_audit)

    def run(self) -> Ended:
        """Run to the end or a stop.

        Raises:
            RelayError: with the exit code of the process; what was committed stays, and the replay can be resumed.
        """
        started = time.monotonic()
        finished = False
        while not (finished or self._stop.is_set):
            source: Source | None = None
            try:
                source = self._open()
                self._pump.run(source)
                finished = source.finished
            except HistoryLost as error:
                raise self._lost() from error
            except (SourceLost, TransactionAborted) as error:
                self._recovering(error)
            finally:
                if source is not None:
                    source.close()
        if finished:
            self._finish()
        return Ended(self._replay, self._dead_letters, time.monotonic() - started, finished)

    def _open(self) -> Source:
        capture, settings, replay = self._capture, self._settings, self._replay
        reader = RawReader(self._client, capture.database, capture.collection)
        batch = batch_of(replay.rate, settings.fetch_events)
        form = EventForm(capture.database, capture.collection)
        encoder = BoundedEncoder(capture.collection, form, self._lookup, capture.max_message_bytes, replay, batch)
        split = splits(self._client)
        return open_stream(
            reader, encoder, capture.namespace, replay, capture.fields, batch, settings.queue_bytes, self._stop.wait, split=split
        )

    def _lookup(self, ids: Sequence[Any]) -> Mapping[bytes, Mapping[str, Any]]:
        """The captured fields of documents as they are now, by key text."""
        capture = self._capture
        with translated(capture.collection):
            found = self._client[capture.database].get_collection(capture.collection, codec_options=CODEC)
            rows = found.find({"_id": {"$in": list(ids)}}, projection_of(capture.fields))
            return {key_text(row["_id"]): row for row in rows}

    def _committed(self, done: Committed) -> None:
        self._failed_since = None
        self._dead_letters += done.dead_letters
        value = done.progress.get(self._key)
        if value is not None:
            self._replay = Replay.decode(self._replay.id, decode_record(value))
        self._observe(self._replay, done)

    def _finish(self) -> None:
        self._replay = replaced(self._replay, finished_ms=now_ms())
        self._sink.begin()
        self._sink.commit({self._key: self._replay.encode()}, None)

    def _lost(self) -> HistoryLost:
        """The oplog has rolled over what was left: how far the replay came, and how far MongoDB reaches back now."""
        replay, oplog = self._replay, read_oplog(self._client)
        at = time_of(replay.token) if replay.token is not None else replay.start_at
        reach = f"it begins at {instant(oplog.oldest)} now" if oplog else "this server does not say where it begins"
        behind = f"token {replay.token}" if replay.token is not None else "its start"
        return HistoryLost(
            f"the oplog no longer reaches back to where replay {replay.id} is, behind {behind} ({instant(at[0])}), {reach}. "
            f"{replay.sent:,} events were sent. `millrace relay snapshot` sends the documents as they are now, "
            "`millrace replay --from oldest` the changes that are left"
        )

    def _recovering(self, error: Exception) -> None:
        now = time.monotonic()
        self._failed_since = self._failed_since if self._failed_since is not None else now
        waited = now - self._failed_since
        log.warning("going on from the committed position", error=str(error), waited_seconds=round(waited, 1))
        if waited > self._settings.retry_seconds:
            raise Unavailable(f"the replay could not go on for {waited:.0f} s: {error}")
        self._stop.wait(min(5.0, 0.2 + waited / 4))


def _no_marker(through_ms: int) -> bytes:
    raise AssertionError("a replay writes no low-water marks")


def _no_audit(counts: Counts) -> bytes:
    raise AssertionError("a replay writes no audit counts")
