"""GraphiQL as a person uses it, in headless Chromium: no other origin, no complaint of the policy, cost, cache, freshness and push."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from millrace_contracts.notices import channel
from millrace_graphql.token_cli import make_token
from tests.browser.devtools import Page, browser
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.integration.graphql_api.test_process import serving, wait_for

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack
RUN = "document.querySelector('.graphiql-execute-button')"
STATUS = "document.querySelector('.millrace-status').textContent"
RESULT = "document.querySelector('.result-window').textContent"


@pytest.fixture(scope="module")
def url(environ: dict[str, str], store: Store) -> Iterator[str]:
    store.merchant("shop", "USD")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    store.report("shop", now - timedelta(hours=2), "USD", Written([Paid(12_345)]))
    store.progress(now)
    with serving(environ) as (served, _):
        wait_for(f"{served}/ready", 200)
        yield served


async def run_tab(page: Page, name: str) -> None:
    await page.evaluate(f"[...document.querySelectorAll('.graphiql-tab-button')].find((tab) => tab.textContent === '{name}').click()")
    await asyncio.sleep(0.5)
    await page.evaluate(f"{RUN}.click()")


def test_examples_run_and_show_cost_cache_and_freshness_and_changes_are_pushed(
    url: str, environ: dict[str, str], tmp_path: Path, store: Store
) -> None:
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", ["shop"], 600)

    seen: list[bytes] = []

    async def scenario() -> None:
        async with browser(f"{url}/graphiql") as page:
            await page.until("document.querySelector('.millrace-token input') !== null", 60)
            await page.evaluate(f"sessionStorage.setItem('millrace:token', {json.dumps(token)}); localStorage.clear(); location.reload()")
            await asyncio.sleep(3)
            await page.until(f"{RUN} !== null && document.querySelectorAll('.graphiql-tab-button').length >= 5", 60)
            await run_tab(page, "LastHours")
            seen.append(await page.screenshot())
            await page.until(f"{STATUS}.includes('cost') && {STATUS}.includes('complete through')")
            await page.until(f"{RESULT}.includes('USD')")
            for _ in range(40):
                await page.evaluate(f"{RUN}.click()")
                await asyncio.sleep(0.5)
                if "cache hit" in await page.evaluate(STATUS):
                    break
            assert "cache hit" in await page.evaluate(STATUS)
            seen.append(await page.screenshot())
            await run_tab(page, "Changes")
            await page.until(f"{STATUS}.includes('subscribed: 1 events')")
            notice = {"merchantId": "shop", "grain": "10m", "windows": [[1_700_000_000_000 // 600_000 * 600_000, "USD"]], "version": 5}
            with redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as client:
                client.publish(channel(environ["MILLRACE_NAMES_REDIS_PREFIX"]), json.dumps({**notice, "completeThrough": None}))
            await page.until(f"{STATUS}.includes('subscribed: 2 events')")
            assert '"5"' in (await page.evaluate(RESULT)).replace("\xa0", " ")
            assert page.complaints == []
            assert {address for address in page.requested if not address.startswith((url, "data:", "about:"))} == set()

    try:
        asyncio.run(scenario())
    finally:
        (tmp_path / "graphiql.png").write_bytes(seen[-1] if seen else b"")
    assert len(seen[-1]) > 20_000


async def click(page: Page, selector: str, text: str = "") -> None:
    """Click the element whose text is this, once it is there."""
    found = f"[...document.querySelectorAll({json.dumps(selector)})].find((each) => each.textContent.includes({json.dumps(text)}))"
    await page.until(f"{found} !== undefined")
    await page.evaluate(f"{found}.click()")


def test_a_pasted_token_opens_the_callers_examples_and_the_schema_can_be_explored(url: str, environ: dict[str, str]) -> None:
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", ["shop"], 600)
    explored = "document.querySelector('.graphiql-doc-explorer-content').textContent"

    async def scenario() -> None:
        async with browser(f"{url}/graphiql") as page:
            box = "document.querySelector('.millrace-token input')"
            await page.until(f"{box} !== null", 60)
            assert "shop" not in await page.evaluate("document.querySelector('.graphiql-editors').textContent")
            # As a person pastes it, with what is around it; React hears of it by the event.
            pasted = json.dumps(f"  Bearer {token}\n")
            setter = "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set"
            await page.evaluate(f"{setter}.call({box}, {pasted}); {box}.dispatchEvent(new Event('input', {{ bubbles: true }}))")
            await asyncio.sleep(3)  # the page begins anew, with the examples of the token's merchant
            await page.until(f"{RUN} !== null && document.querySelectorAll('.graphiql-tab-button').length >= 5", 60)
            await run_tab(page, "LastHours")
            await page.until(f"{RESULT}.includes('USD')")
            assert "shop" in await page.evaluate("document.querySelector('.graphiql-editors').textContent")

            await click(page, "button[aria-label='Show Documentation Explorer']")
            await click(page, ".graphiql-doc-explorer-content a", "Query")
            await page.until(f"{explored}.includes('How far the analysis has come.')")
            await click(page, ".graphiql-doc-explorer-content a", "series")
            await page.until(f"{explored}.includes('The windows of a range with their totals.')")
            assert "Length of a window on the calendar of the time zone." in await page.evaluate(explored)
            await click(page, ".graphiql-doc-explorer-content a", "Grain")
            await page.until(f"{explored}.includes('of 23 or 25 hours where the clocks change')")
            assert page.complaints == []
            assert {address for address in page.requested if not address.startswith((url, "data:", "about:"))} == set()

    asyncio.run(scenario())
