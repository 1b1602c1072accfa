"""A worker's memory under requests that are as large as they may be: bounded whoever asks, and nobody else's answers are lost."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import storeless
from tests.integration.graphql_api.test_process import serving, wait_for

__all__ = ["storeless"]
pytestmark = pytest.mark.stack

MIB = 2**20
QUERY = "{ viewer { role } }"
REQUESTS = 50  # of 1.9 MB each, where they are kept


class Served:
    """The API with one worker, somebody's warmed query, and another caller."""

    def __init__(self, url: str, pid: int, keys: Path) -> None:
        self._pid = pid
        self.url = url
        self.other = {"Authorization": f"Bearer {make_token(keys, 'merchant', ['other'], 600)}"}
        warm = {"Authorization": f"Bearer {make_token(keys, 'merchant', ['warm'], 600)}"}
        self._warm = httpx.Client(base_url=url, headers=warm, timeout=60)

    def rss(self) -> int:
        """Of the worker, which is the largest of the processes."""
        whole = psutil.Process(self._pid).children(recursive=True)
        return max(each.memory_info().rss for each in whole)

    def cache_of_warm(self) -> str:
        """Where the warmed query's answer comes from."""
        answer = self._warm.post("/graphql", json={"query": QUERY})
        assert answer.json() == {"data": {"viewer": {"role": "merchant"}}}
        return answer.headers["x-millrace-cache"]

    def close(self) -> None:
        self._warm.close()


@pytest.fixture(scope="module")
def served(storeless: dict[str, str]) -> Iterator[Served]:
    with serving(storeless) as (url, process):
        wait_for(f"{url}/health", 200)
        found = Served(url, process.pid, Path(storeless["MILLRACE_HOME"]) / "keys")
        deadline = time.monotonic() + 90  # the feed of notices may come up a moment later
        while found.cache_of_warm() != "hit":
            assert time.monotonic() < deadline
        yield found
        found.close()


@pytest.mark.parametrize("named", [False, True], ids=["without a token", "with a token"])
@pytest.mark.parametrize("tail", ["{__typename}", "{nothing}", "{"], ids=["valid", "invalid", "no document"])
def test_large_documents_leave_nothing_behind(served: Served, named: bool, tail: str) -> None:
    before = served.rss()
    with httpx.Client(base_url=served.url, headers=served.other if named else {}, timeout=60) as client:
        for number in range(REQUESTS):
            query = f"#{number}😀{'x' * 250_000}\n{tail}"
            body = json.dumps({"query": query}, ensure_ascii=False).encode()
            answer = client.post("/graphql", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 200
            assert ("data" in answer.json()) == (tail == "{__typename}")
    assert served.rss() - before < 64 * MIB
    assert served.cache_of_warm() == "hit"


@pytest.mark.parametrize("part", ["operation name", "variables", "merchant", "header"])
def test_other_parts_of_a_request_leave_nothing_behind_either(served: Served, part: str) -> None:
    before = served.rss()
    with httpx.Client(base_url=served.url, timeout=60) as client:
        for number in range(REQUESTS):
            long = f"{number:08d}" + "x" * 120_000
            body: dict[str, object] = {"query": "query($a: String) { viewer { role } }"}
            headers = dict(served.other)
            if part == "operation name":
                body |= {"query": f"query q{long} {{ __typename }}", "operationName": f"q{long}"}
            elif part == "variables":
                body |= {"query": "{ viewer { role } }", "variables": {"a": long}}
            elif part == "merchant":
                body |= {"query": "query($m: ID!) { series(merchantId: $m, preset: TODAY) { totals { gross } } }", "variables": {"m": long}}
            else:
                headers["Accept-Encoding"] = f"gzip, {long[:60_000]}"
            assert client.post("/graphql", json=body, headers=headers).status_code == 200
    assert served.rss() - before < 64 * MIB
    assert served.cache_of_warm() == "hit"
