"""The whole pipeline of one home: servers, declarations and tiers, up and down."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import httpx

from millrace_contracts import exit_codes
from millrace_contracts.identity import SCOPES
from millrace_runtime.waiting import GrowingPause
from millrace_stack.demo.screen import Screen
from millrace_stack.demo.tiers import DECLARE, KEY, ORDER, millrace, specs
from millrace_stack.demo.watch import Watch
from millrace_stack.errors import StackError
from millrace_stack.home import Home
from millrace_stack.load.client import CollectionClient
from millrace_stack.processes import Processes
from millrace_stack.readiness import Cancelled
from millrace_stack.settings import StackSettings

T = TypeVar("T")


class Pipeline:
    """``with Pipeline(...) as pipeline`` starts everything and, however it ends, stops everything."""

    def __init__(self, home: Home, environ: Mapping[str, str], screen: Screen) -> None:
        self.home = home
        self.stopped = threading.Event()
        self.processes = Processes(home, self.stopped)
        self._patience = StackSettings.load(environ).patience_seconds
        self._environ, self._screen = environ, screen
        self._watch: Watch | None = None

    def __enter__(self) -> Pipeline:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def settings(self) -> dict[str, str]:
        """What was published in the home, under the environment, as every ``millrace`` command sees it."""
        return {**self.home.settings(), **self._environ, "MILLRACE_HOME": str(self.home.path)}

    def client(self) -> CollectionClient:
        """A connection to the collection API; one per thread."""
        settings = self.settings()
        return CollectionClient(settings["MILLRACE_COLLECTION_URL"], settings[KEY], stopped=self.stopped, notify=self._screen.say)

    def millrace(self, *arguments: str) -> str:
        """Run a ``millrace`` command to its end; what it printed.

        Raises:
            StackError: it failed.
        """
        return millrace(self.home, arguments)

    def stop(self) -> None:
        """Stop tiers, then servers; whatever is not running is passed over."""
        self.stopped.set()
        if self._watch is not None:
            self._watch.__exit__()
            self._watch = None
        for tier in reversed(ORDER):
            self._try(functools.partial(self.processes.stop, tier))
        self._try(functools.partial(millrace, self.home, ("stack", "down"), detached=True))

    def _try(self, step: Callable[[], object]) -> None:
        """What can not be stopped must not keep the rest running."""
        try:
            step()
        except StackError as error:
            self._screen.say(error.message)

    def _start(self) -> None:
        screen = self._screen
        with screen.step("Starting MongoDB, Kafka, Connect, Cassandra and Redis"):
            self.insist(self._servers)
        tiers = specs(self.home, self._environ)
        # From now on whatever dies is started again, also while the rest still starts.
        self._watch = Watch(self.processes, tiers, self._servers, screen.say)
        self._watch.__enter__()
        for text, command in DECLARE:
            with screen.step(text):
                self.insist(functools.partial(millrace, self.home, command))
        for tier in ORDER:
            with screen.step(f"Starting {tier}"):
                self.insist(functools.partial(self.processes.start, tiers[tier]))
        self.insist(self._make_key)

    def insist(self, step: Callable[[], T]) -> T:
        """Do a step of the start until it holds, with growing pauses, and say what is missing meanwhile.

        Raises:
            StackError: it was refused, it failed for longer than the patience, or the demo is stopping.
        """
        pauses, deadline = GrowingPause(), time.monotonic() + self._patience
        while True:
            try:
                return step()
            except StackError as error:
                if error.exit_code == exit_codes.USAGE or isinstance(error, Cancelled) or time.monotonic() > deadline:
                    raise
                pause = pauses.next()
                self._screen.say(f"! {error.brief}; again in {pause:.1f} s")
                if self.stopped.wait(pause):
                    raise

    def _servers(self) -> None:
        millrace(self.home, ("stack", "up"), detached=True, tell=self._screen.say)

    def _make_key(self) -> None:
        """Keep the API key of an earlier start while it is good."""
        settings = self.settings()
        if KEY in settings:
            url = settings["MILLRACE_COLLECTION_URL"]
            try:
                answer = httpx.get(
                    f"{url}/v1/merchants/none", headers={"Authorization": f"Bearer {settings[KEY]}"}, timeout=30, trust_env=False
                )
            except httpx.TransportError as error:
                raise StackError(f"the collection API at {url} does not answer ({error})") from None
            if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                raise StackError(f"the collection API at {url} answers {answer.status_code}: {answer.text[:200]}")
            if answer.status_code not in (401, 403):
                return
        scopes = [part for scope in SCOPES for part in ("--scope", scope)]
        made = json.loads(self.millrace("collection", "keys", "create", "--name", "demo", *scopes, "--json"))
        self.home.publish({}, {KEY: made["key"]})
