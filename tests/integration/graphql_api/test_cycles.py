"""What an answer was made of is freed with it: nothing is left in a cycle until the garbage collector comes by."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from cassandra.cluster import ResponseFuture

from tests.integration.graphql_api.conftest import Api, run
from tests.integration.graphql_api.questions import day, fortnight
from tests.integration.graphql_api.store import Store

pytestmark = pytest.mark.stack

TIMES = 3
SPAN = {"start": day(0, 0).isoformat(), "end": day(14, 0).isoformat()}
RANGE = f'(merchantId: "cycles", start: "{SPAN["start"]}", end: "{SPAN["end"]}"'
FRESH = "freshness { completeThrough revision missing }"
SERIES = {
    "ten minutes": "points { start gross customers medianAmount }",
    "days": "points { start gross customers }",
    "totals": "totals { gross customers p95Amount byMethod { value gross } }",
    "comparison": "comparison(basis: PREVIOUS_PERIOD) { totals { gross { value previous change changeKind } } }",
    "breakdown": "breakdown(by: METHOD, first: 1) { slices { value gross shareOfGross } other { gross } }",
    "reports": "reportConnection(first: 3) { edges { node { gross } } }",
}
QUERIES = {
    **{
        name: f"{{ series{RANGE}, grain: {'TEN_MINUTES' if name == 'ten minutes' else 'DAY'}) {{ {fields} {FRESH} }} }}"
        for name, fields in SERIES.items()
    },
    "report": f'{{ report(merchantId: "cycles", start: "{day(0).isoformat()}") {{ gross byMethod {{ value gross }} }} }}',
    "weekGrid": f"{{ weekGrid{RANGE}) {{ cells {{ weekday hour gross }} {FRESH} }} }}",
    "peers": f"{{ peers{RANGE}, grain: DAY) {{ {FRESH} }} }}",
    "customersByDay": f"{{ customersByDay{RANGE}) {{ points {{ start newCustomers }} {FRESH} }} }}",
}
PATHS: dict[str, dict[str, str]] = {
    "series": {"grain": "DAY"},
    "series.csv": {"grain": "DAY"},
    "comparison": {"grain": "DAY", "basis": "PREVIOUS_PERIOD"},
    "breakdown": {"by": "METHOD"},
    "week-grid": {},
    "peers": {"grain": "DAY"},
    "customers": {},
    "customers.csv": {},
    "export.csv": {},
    "export.ndjson": {},
}
CACHES = {
    "columns in the process": {"MILLRACE_API_RESPONSE_CACHE_BYTES": "0"},
    "columns from Redis": {"MILLRACE_API_RESPONSE_CACHE_BYTES": "0", "MILLRACE_API_CHUNK_MEMORY_BYTES": "0"},
    "no cache": {"MILLRACE_API_RESPONSE_CACHE_BYTES": "0", "MILLRACE_API_CHUNK_CACHE": "false"},
}


def ours(found: object) -> bool:
    """Whether this holds what was read, rather than being of the test's own HTTP client."""
    kind = type(found)
    return kind.__module__.startswith("millrace_") or isinstance(found, ResponseFuture | np.ndarray)


async def left_behind(ask: Callable[[str], Awaitable[None]], what: str) -> Counter[str]:
    """The kinds of objects that only the garbage collector would free, after the same was asked some times."""
    for _ in range(2):
        await ask(what)  # what is made once is made
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(TIMES):
            await ask(what)
        gc.collect()
        return Counter(type(found).__qualname__ for found in gc.garbage if ours(found))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("caches", CACHES)
def test_no_answer_leaves_what_it_read_in_a_cycle(environ: dict[str, str], store: Store, caches: str) -> None:
    fortnight(store, "cycles")

    async def scenario(api: Api) -> None:
        async def query(text: str) -> None:
            body: Any = await api.ask(text, ["cycles"])
            assert "errors" not in body, body

        async def path(name: str) -> None:
            answer = await api.get(f"/v1/merchants/cycles/{name}", ["cycles"], params={**SPAN, **PATHS[name]})
            assert answer.status_code == 200, answer.text

        found = {name: await left_behind(query, text) for name, text in QUERIES.items()}
        found |= {name: await left_behind(path, name) for name in PATHS}
        assert found == {name: Counter() for name in found}

    run({**environ, **CACHES[caches]}, scenario)
