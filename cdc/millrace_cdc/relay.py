"""The relay of one stream: fence, read the position, then snapshot or stream until a stop; what goes wrong is retried or ends the process.

The order at the start is what makes it exactly once (I2): the transactional id is taken over FIRST, which ends whatever a predecessor had
open, and the position is read THEN, so that nothing can be committed behind it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import structlog

from millrace_cdc import audit
from millrace_cdc.capture import Capture, check
from millrace_cdc.errors import HistoryLost, ProducerInDoubt, Reopen, SourceLost, TransactionAborted, Unavailable
from millrace_cdc.events import marker
from millrace_cdc.gaps import Gap, gap_key
from millrace_cdc.mongo import now_ms
from millrace_cdc.portions import Portion, Source
from millrace_cdc.progress import Position, Records, decode_record
from millrace_cdc.pump import Committed, Pace, Pump
from millrace_cdc.settings import RelaySettings
from millrace_cdc.sink import KafkaSink
from millrace_cdc.sources import Sources, gap_audit
from millrace_cdc.state import RelayState
from millrace_cdc.tokens import position as time_of
from millrace_runtime.stopping import StopSignal

BACKOFF_SECONDS = (0.1, 5.0)
log = structlog.get_logger()


class Relay:
    """Runs one stream. ``read_progress`` reads the committed records to the end."""

    def __init__(
        self,
        capture: Capture,
        sources: Sources,
        sink: KafkaSink,
        read_progress: Callable[[], Records],
        settings: RelaySettings,
        state: RelayState,
        stop: StopSignal,
    ) -> None:
        self._capture = capture
        self._sources = sources
        self._sink = sink
        self._read_progress = read_progress
        self._settings = settings
        self._state = state
        self._stop = stop
        self._records: Records = {}
        self._failed_since: float | None = None
        pace = Pace(settings.transaction_events, settings.transaction_ms / 1000, settings.linger_ms / 1000, settings.idle_ms / 1000)
        self._pump = Pump(sink, pace, stop, self._committed, state.idle, self._marker, self._audit)

    def run(self) -> None:
        """Run until a stop is asked for.

        Raises:
            RelayError: with the exit code of the process.
        """
        self._take_over()
        self._await_snapshot()
        attempt = 0
        while not self._stop.is_set:
            source: Source | None = None
            committed_before = self._state.last_commit
            try:
                source = self._sources.open(self._records)  # 3. snapshot, close a gap, or stream from the position
                self._pump.run(source)  # 4. read, produce, record the position, commit
                attempt = 0
            except HistoryLost as error:
                self._open_gap(error)
            except ProducerInDoubt as error:
                log.warning("taking over from ourselves", reason=str(error))
                self._take_over()
            except Reopen as error:
                log.info("going on behind it", reason=str(error))
            except (SourceLost, TransactionAborted) as error:
                attempt = self._recovering(error, attempt if self._state.last_commit == committed_before else 0)
            finally:
                if source is not None:
                    source.close()
            if attempt:
                self._stop.wait(_backoff(attempt))

    def _take_over(self) -> None:
        self._state.enter("starting", "taking the transactional id over")
        self._sink.fence()  # 1. fence the predecessor (I3)
        self._records = self._read_progress()  # 2. then read where it stopped (I2)
        check(self._capture, self._records)

    def _await_snapshot(self) -> None:
        """Stream 0 makes the first snapshot; the others begin where it ends, so that no document's changes overtake its read (I3)."""
        while self._capture.share.stream and self._capture.key not in self._records and not self._stop.is_set:
            self._state.enter("snapshot", "waiting for stream 0 to finish the snapshot")
            if not self._stop.wait(1.0):
                self._records = self._read_progress()
                check(self._capture, self._records)

    def _open_gap(self, error: HistoryLost) -> None:
        """Record what is lost before anything else is done about it (I4).

        Raises:
            HistoryLost: the policy is to stop.
        """
        if self._sink.in_doubt:
            self._take_over()
            return  # opening the source from what was read finds the gap again
        position = Position.decode(self._records[self._capture.key])
        start = time_of(position.token) if position.token is not None else position.at or (0, 0)
        gap = Gap(self._capture.share.stream, start, None, now_ms())
        key = gap_key(self._capture.namespace, gap.stream)
        log.error("history lost", gap_from=start, error=str(error), policy=self._settings.on_history_lost)
        self._sink.begin()
        self._sink.produce(Portion(audits=[gap_audit(self._capture.namespace, gap)]))
        records = {key: gap.encode()} if self._settings.on_history_lost == "reconcile" else {}
        self._sink.commit(records, None)
        self._remember(records)
        if self._settings.on_history_lost == "stop":
            raise HistoryLost(f"{error}; MILLRACE_RELAY_ON_HISTORY_LOST=reconcile closes the gap from {start}") from None

    def _marker(self, through_ms: int) -> bytes:
        share = self._capture.share
        return marker(share.stream, share.streams, through_ms, now_ms())

    def _audit(self, counts: audit.Counts) -> bytes:
        return audit.encode(self._capture.namespace, self._capture.share.stream, counts, now_ms())

    def _committed(self, done: Committed) -> None:
        self._failed_since = None
        self._remember(done.progress)
        self._state.committed(done)

    def _remember(self, records: Mapping[str, bytes | None]) -> None:
        for key, value in records.items():
            if value is None:
                self._records.pop(key, None)
            else:
                self._records[key] = decode_record(value)
        gap = self._records.get(gap_key(self._capture.namespace, self._capture.share.stream))
        self._state.gaps_open.set(gap is not None and gap["to"] is None)

    def _recovering(self, error: Exception, attempt: int) -> int:
        """Count a failure that may pass; raise when it has lasted too long."""
        if isinstance(error, TransactionAborted):
            self._state.aborts.inc()
        self._state.reopens.inc()
        now = time.monotonic()
        self._failed_since = self._failed_since if self._failed_since is not None else now
        waited = now - self._failed_since
        phase = "waiting for Kafka" if isinstance(error, TransactionAborted) else "waiting for MongoDB"
        self._state.enter(phase, str(error))
        log.warning("going on from the committed position", phase=phase, error=str(error), waited_seconds=round(waited, 1))
        if waited > self._settings.retry_seconds:
            raise Unavailable(f"{phase} for {waited:.0f} s: {error}")
        return attempt + 1


def _backoff(attempt: int) -> float:
    low, high = BACKOFF_SECONDS
    delay: float = min(high, low * 2.0 ** min(attempt - 1, 10))
    return delay * random.uniform(0.75, 1.25)  # noqa: S311
