"""Cassandra for asyncio: connecting in the background, prepared statements, and reads bridged from the driver's callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import structlog
from cassandra import ConsistencyLevel, DriverException, OperationTimedOut, RequestExecutionException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, ResponseFuture, Session
from cassandra.policies import ConstantSpeculativeExecutionPolicy, DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.query import BoundStatement, PreparedStatement, tuple_factory

from millrace_contracts.reports import PROGRESS_PAYMENTS, PROGRESS_TABLE
from millrace_contracts.settings import CassandraSettings
from millrace_graphql import tracing
from millrace_graphql.errors import UnavailableError
from millrace_graphql.ranges.fast_rows import ColumnsHandler, columns

log = structlog.get_logger()
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
PAGE_ROWS = 5_000
SPECULATIVE_DELAY_SECONDS = 0.5
"""A read is idempotent: after this time another replica is asked too."""
_BIGINT = struct.Struct(">q")
Columns = dict[str, Any]
"""The rows of an answer as columns of equal length, by name: sequences in which a null is None, or arrays."""


class Cassandra:
    """One session a process. Reads raise ``UnavailableError`` until it is connected; connecting goes on in the background."""

    def __init__(self, settings: CassandraSettings, keyspace: str, concurrency: int, timeout_seconds: float) -> None:
        self._settings = settings
        self.keyspace = keyspace
        self._timeout = timeout_seconds
        self._slots = asyncio.Semaphore(concurrency)
        self._prepared: dict[str, PreparedStatement] = {}
        self._preparing = asyncio.Lock()
        self._cluster: Cluster | None = None
        self._session: Session | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self.problem = "connecting"

    @property
    def ready(self) -> bool:
        """Whether reads can be tried."""
        return self._session is not None

    async def state(self) -> str:
        """``ready``, or why not; asks the server for our own table, which `millrace process tables` makes."""
        if self._session is None:
            return self.problem
        try:
            await self.read(f"SELECT name FROM {{ks}}.{PROGRESS_TABLE} WHERE name = ?", [PROGRESS_PAYMENTS])  # noqa: S608 - a name of our own
        except UnavailableError as error:
            return error.message
        return "ready"

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connecting = asyncio.create_task(self._connect(), name="cassandra-connect")

    async def tried(self, seconds: float) -> None:
        """Wait until it is connected, or the first try has failed, at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), seconds)

    async def stop(self) -> None:
        """Close the session and its connections."""
        if self._connecting:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._cluster:
            await asyncio.to_thread(self._cluster.shutdown)

    async def _connect(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                self._cluster, self._session = await asyncio.to_thread(self._open)
            except (DriverException, NoHostAvailable, OSError) as error:
                self.problem = f"{type(error).__name__}: {error}"[:300]
                self._tried.set()
                log.warning("cassandra.away", problem=self.problem, retry_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            self.problem = ""
            self._tried.set()
            log.info("cassandra.connected", keyspace=self.keyspace)
            return

    def _open(self) -> tuple[Cluster, Session]:
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=self._settings.local_dc)),
            # The writers write LOCAL_QUORUM: only this way a read after a notice is sure to see what the notice tells of.
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
            speculative_execution_policy=ConstantSpeculativeExecutionPolicy(SPECULATIVE_DELAY_SECONDS, 1),
            row_factory=tuple_factory,
            request_timeout=self._timeout,
        )
        auth = None
        if self._settings.username:
            from cassandra.auth import PlainTextAuthProvider

            auth = PlainTextAuthProvider(self._settings.username, self._settings.password)
        cluster = Cluster(
            self._settings.contact_points(),
            port=self._settings.port,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            auth_provider=auth,
            reconnection_policy=ExponentialReconnectionPolicy(FIRST_PAUSE, LONGEST_PAUSE),
            protocol_version=4,  # version 5 adds checksums that the driver computes in Python: a fifth of a read
            connect_timeout=5,
        )
        try:
            session = cluster.connect()
        except BaseException:
            cluster.shutdown()
            raise
        session.client_protocol_handler = ColumnsHandler
        return cluster, session

    async def read(self, statement: str, arguments: Sequence[str | int], page_rows: int = PAGE_ROWS) -> Columns:
        """The rows of an idempotent SELECT, all pages, as columns; ``{ks}`` in the statement stands for the keyspace.

        Instants among the arguments are epoch milliseconds, as bigints are numbers.
        ``page_rows`` is a property of the statement: the first call with it says how many rows come at a time.

        Raises:
            UnavailableError: Cassandra is away, slow, or has no such table yet.
        """
        if self._session is None:
            raise UnavailableError("the report store is not connected yet; try again in some seconds")
        async with self._slots:
            try:
                prepared = await self._prepare(statement, page_rows)
                if not tracing.enabled():
                    return await self._execute(self._session, prepared, arguments)
                with tracing.span("cassandra", **{"db.system.name": "cassandra", "db.query.text": statement}):
                    return await self._execute(self._session, prepared, arguments)
            except (RequestExecutionException, NoHostAvailable, OperationTimedOut, DriverException) as error:
                log.warning("cassandra.read_failed", problem=str(error)[:300])
                raise UnavailableError("the report store does not answer; try again in some seconds") from error

    async def _prepare(self, statement: str, page_rows: int) -> PreparedStatement:
        found = self._prepared.get(statement)
        if found is None:
            async with self._preparing:
                found = self._prepared.get(statement)
                if found is None:
                    assert self._session is not None
                    found = await asyncio.to_thread(_prepared, self._session, statement.replace("{ks}", self.keyspace), page_rows)
                    self._prepared[statement] = found
        return found

    async def _execute(self, session: Session, prepared: PreparedStatement, arguments: Sequence[str | int]) -> Columns:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        pages: list[Any] = []

        def settle(action: Callable[[Any], None], value: Any) -> None:
            if not answer.done():  # the caller may have gone
                action(value)

        def tell(action: Callable[[Any], None], value: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is stopping
                loop.call_soon_threadsafe(settle, action, value)

        request = session.execute_async(_bound(prepared, arguments))

        def page(more: Any) -> None:
            pages.append(more)
            if request.has_more_pages:
                request.start_fetching_next_page()
            else:
                _let_go(request)
                tell(answer.set_result, pages)

        def failed(error: Exception) -> None:
            _let_go(request)
            tell(answer.set_exception, error)

        request.add_callbacks(page, failed)
        return _columns([name for _, _, name, _ in prepared.result_metadata], await answer)


def _let_go(request: ResponseFuture) -> None:
    """Cut what ties a finished request to itself: its callbacks, and its timer, which the driver keeps until it would have been due.

    Else it lies about with all that it has read until then and until the garbage collector comes by.
    """
    request.clear_callbacks()
    if request._timer is not None:
        request._timer.callback = _nothing


def _nothing() -> None:
    """What a timer does that nobody waits for."""


def _columns(names: list[str], pages: list[Any]) -> Columns:
    """The rows of all pages as columns: arrays where every page came as one (fast_rows), sequences otherwise."""
    kept = [page for page in pages if len(page)]
    if kept and all(isinstance(page, np.ndarray) for page in kept):
        whole = kept[0] if len(kept) == 1 else np.concatenate(kept)
        return dict(columns(whole))
    rows = [row for page in kept for row in _tuples(page, names)]
    return dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())


def _tuples(page: Any, names: list[str]) -> Any:
    return zip(*(found.tolist() for found in columns(page).values()), strict=True) if isinstance(page, np.ndarray) else page


def _bound(prepared: PreparedStatement, arguments: Sequence[str | int]) -> BoundStatement:
    """The statement with its arguments in the protocol's bytes: the driver's own conversion takes ten times as long."""
    bound = BoundStatement(prepared)
    bound.values = [argument.encode() if isinstance(argument, str) else _BIGINT.pack(argument) for argument in arguments]
    return bound


def _prepared(session: Session, statement: str, page_rows: int) -> PreparedStatement:
    prepared = session.prepare(statement)
    prepared.is_idempotent = True
    prepared.fetch_size = page_rows
    return prepared
