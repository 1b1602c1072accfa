"""Small files joined by the stream itself, between two batches: a short trigger leaves a file or two of some hundred facts each time, and
every later batch of the same hours would open them all."""

from __future__ import annotations

import structlog
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from millrace_processors import maintenance
from millrace_processors.lake import Lake

log = structlog.get_logger()


class FileJoiner:
    """Counts the batches that have appended facts.

    ``every``: after so many, partitions with ``small_files`` or more have them joined; 0 never.
    """

    def __init__(self, lake: Lake, every: int, small_files: int = maintenance.Plan.small_files) -> None:
        self._lake, self._every, self._small_files, self._batches = lake, every, small_files, 0

    def after_batch(self, appended: bool) -> None:
        """To be called when a batch is through; what fails here fails nothing, and is tried again after as many batches."""
        self._batches += appended
        if not self._every or self._batches < self._every:
            return
        self._batches = 0
        try:
            before, after = maintenance.join_facts(self._lake, self._small_files)
        except (PySparkException, Py4JJavaError) as error:
            # `maintain` may have joined the same files at the same time: one of the two commits is refused, and nothing is lost.
            log.warning("stream.files_not_joined", reason=str(error).splitlines()[0][:500])
        else:
            log.info("stream.files_joined", before=before, after=after)
