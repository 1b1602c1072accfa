"""A JSON document that somebody else publishes at a path or URL, read again from time to time and believed for a while."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson
import structlog

log = structlog.get_logger()
T = TypeVar("T")
LONGEST_SECONDS = 3_600.0
"""A document that cannot be read any more is believed for so long."""
REFRESH_SECONDS = 10.0
"""It is fetched at most this often, however often something is asked for that it does not hold."""
LONGEST_BYTES = 4_194_304


class Document(Generic[T]):
    """The document as ``parse`` makes it of its JSON. ``absent`` is what a path without a file holds; without it, that is a failure."""

    def __init__(
        self, source: str, parse: Callable[[Any], T], seconds: float, clock: Callable[[], float] = time.monotonic, absent: T | None = None
    ) -> None:
        self._source = source
        self._parse = parse
        self._seconds = seconds
        self._clock = clock
        self._absent = absent
        self._raw: bytes | None = None
        self._content: T | None = None
        self._tried = self._read_at = float("-inf")
        self.version = 0
        """Grows with each change of the content."""

    @property
    def content(self) -> T | None:
        """The content; None before it could be read, and once it could not be read for too long."""
        return self._content if self._clock() - self._read_at < LONGEST_SECONDS else None

    def is_due(self, *, wanted: bool = False) -> bool:
        """Whether to read it now: because of its age or, where something is ``wanted`` that it lacks, unless that was tried just now."""
        now = self._clock()
        return (wanted or now - self._read_at >= self._seconds) and now - self._tried >= min(REFRESH_SECONDS, self._seconds)

    def read(self) -> None:
        """Read it; what cannot be read, or is no such document, changes nothing."""
        self._tried = self._clock()
        try:
            raw = self._load()
            content = self._absent if raw is None else self._parse(orjson.loads(raw))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("published.unreadable", source=self._source, problem=f"{type(error).__name__}: {error}"[:200])
            self._tried = self._clock() - REFRESH_SECONDS + 1  # an absent file may be there a second later
            return
        if raw != self._raw or self._content is None:
            self.version += 1
        self._raw, self._content, self._read_at = raw, content, self._clock()

    def _load(self) -> bytes | None:
        if self._source.startswith(("https://", "http://")):
            with urllib.request.urlopen(self._source, timeout=5) as answer:  # noqa: S310 - the scheme is checked above
                return bytes(answer.read(LONGEST_BYTES))
        try:
            return Path(self._source).read_bytes()
        except FileNotFoundError:
            if self._absent is None:
                raise
            return None
