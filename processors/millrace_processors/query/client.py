"""A client of the query service, for the command."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from millrace_contracts.settings import Settings
from millrace_processors.errors import CommandError, ProcessorsError, UnavailableError

DEFAULT_URL = "http://127.0.0.1:8085"
WAIT_SECONDS = 10
AWAY_SECONDS = 120.0
"""How long a service that replaces its engine may be away from a caller that waits."""
PAGE = 10_000


class ClientSettings(Settings, group="QUERY"):
    """Where the query service is, and who asks it."""

    url: str = DEFAULT_URL
    """The query service, for `millrace query run` and the like."""
    token: str = ""
    """The access token that `millrace query run` and the like send."""


class RefusedError(CommandError):
    """The service refused a request; ``code`` says what kind of refusal it is."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FailedError(ProcessorsError):
    """The query ended without a result."""


class Client:
    """Requests of one caller."""

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT_SECONDS + 30, transport=transport
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def views(self) -> Any:
        """What may be asked."""
        return self._ask("GET", "/v1/query/views").json()

    def submit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a query; its job. A full queue is waited for."""
        while True:
            try:
                return dict(self._ask("POST", "/v1/query/jobs", json=body).json())
            except _BusyError as busy:
                time.sleep(busy.seconds)

    def job(self, job_id: str, wait: int = 0) -> dict[str, Any]:
        """The state of a job, after at most so many seconds of waiting for its end."""
        return dict(self._ask("GET", f"/v1/query/jobs/{job_id}", params={"wait": wait}).json())

    def jobs(self) -> list[dict[str, Any]]:
        """The caller's jobs."""
        return list(self._ask("GET", "/v1/query/jobs").json()["jobs"])

    def ended(self, job_id: str) -> dict[str, Any]:
        """Wait for a job's end.

        Raises:
            FailedError: it ended without a result.
        """
        job = self.job(job_id, WAIT_SECONDS)
        while job["state"] in ("queued", "running"):
            job = self._still(job_id)
        if job["state"] != "done":
            raise FailedError(f"the query is {job['state']}: {job.get('error', {}).get('detail', 'no result')}")
        return job

    def _still(self, job_id: str) -> dict[str, Any]:
        """A job of a service that has answered before: one whose engine is being replaced comes back, and takes the job up again."""
        deadline = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return self.job(job_id, WAIT_SECONDS)
            except UnavailableError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(1)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job, or remove its result."""
        return dict(self._ask("DELETE", f"/v1/query/jobs/{job_id}").json())

    def pages(self, job_id: str, kind: str) -> Iterator[httpx.Response]:
        """Every page of a result in a format."""
        path: str | None = f"/v1/query/jobs/{job_id}/result?format={kind}&limit={PAGE}"
        while path:
            page = self._ask("GET", path)
            yield page
            path = page.links.get("next", {}).get("url")

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise UnavailableError(f"{self.url} does not answer ({error}); is `millrace query serve` running?") from None
        if answer.status_code == 429:
            raise _BusyError(float(answer.headers.get("Retry-After", "5")))
        if answer.is_success:
            return answer
        try:
            body = answer.json()
            code, detail = str(body["code"]), str(body["detail"])
        except (ValueError, KeyError, TypeError):
            raise UnavailableError(f"{self.url}{path} answered {answer.status_code}; is it the query service?") from None
        if answer.status_code >= 500:
            raise FailedError(f"the service failed: {detail}")
        raise RefusedError(code, detail)


class _BusyError(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds
