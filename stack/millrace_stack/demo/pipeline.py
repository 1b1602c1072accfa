"""The whole pipeline of one home: servers, declarations and tiers, up and down."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping

import httpx

from millrace_contracts.identity import SCOPES
from millrace_stack.demo.screen import Screen
from millrace_stack.demo.tiers import DECLARE, KEY, ORDER, millrace, specs
from millrace_stack.demo.watch import Watch
from millrace_stack.errors import StackError
from millrace_stack.home import Home
from millrace_stack.load.client import CollectionClient
from millrace_stack.processes import Processes


class Pipeline:
    """``with Pipeline(...) as pipeline`` starts everything and, however it ends, stops everything."""

    def __init__(self, home: Home, environ: Mapping[str, str], screen: Screen) -> None:
        self.home = home
        self.processes = Processes(home)
        self.stopped = threading.Event()
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
            self._servers()
        tiers = specs(self.home, self._environ)
        for text, command in DECLARE:
            with screen.step(text):
                millrace(self.home, command)
        for tier in ORDER:
            with screen.step(f"Starting {tier}"):
                self.processes.start(tiers[tier])
        self._watch = Watch(self.processes, tiers, self._servers, screen.say)
        self._watch.__enter__()
        self._make_key()

    def _servers(self) -> None:
        millrace(self.home, ("stack", "up"), detached=True, tell=self._screen.say)

    def _make_key(self) -> None:
        """Keep the API key of an earlier start while it is good."""
        settings = self.settings()
        if KEY in settings:
            answer = httpx.get(
                f"{settings['MILLRACE_COLLECTION_URL']}/v1/merchants/none",
                headers={"Authorization": f"Bearer {settings[KEY]}"},
                timeout=30,
                trust_env=False,
            )
            if answer.status_code not in (401, 403):
                return
        scopes = [part for scope in SCOPES for part in ("--scope", scope)]
        made = json.loads(self.millrace("collection", "keys", "create", "--name", "demo", *scopes, "--json"))
        self.home.publish({}, {KEY: made["key"]})
