"""What Spark itself says of each trigger, for Prometheus: how far a query is behind its topic, and which phase took how long."""

from __future__ import annotations

from typing import Any

from pyspark.sql.streaming.listener import StreamingQueryListener

from millrace_processors.metrics import Metrics


class ProgressListener(StreamingQueryListener):
    """Called by Spark from a thread of its own, behind the batches."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def onQueryStarted(self, event: Any) -> None:
        """Nothing is known yet."""

    def onQueryProgress(self, event: Any) -> None:
        """Take the figures of a trigger."""
        progress = event.progress
        for phase, milliseconds in progress.durationMs.items():
            self._metrics.trigger_seconds.labels(progress.name, phase).observe(milliseconds / 1000)
        for source in progress.sources:
            behind = (source.metrics or {}).get("maxOffsetsBehindLatest")
            if behind is not None:
                self._metrics.offsets_behind.labels(progress.name).set(float(behind))

    def onQueryIdle(self, event: Any) -> None:
        """A trigger without records changes nothing."""

    def onQueryTerminated(self, event: Any) -> None:
        """What follows is the driver's business (streaming.py)."""
