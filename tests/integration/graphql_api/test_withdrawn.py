"""A token that is withdrawn while it is in use: what is kept for it, and what it holds open, ends."""

import asyncio
import json
from pathlib import Path

import httpx
import jwt
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import storeless, until
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.integration.graphql_api.test_subscriptions import QUERY as CHANGES
from tests.integration.graphql_api.test_subscriptions import connected, subscribe

__all__ = ["storeless"]
pytestmark = pytest.mark.stack

QUERY = "{ viewer { role } }"


@pytest.mark.parametrize("by", ["token", "subject"])
def test_a_withdrawn_token_ends_its_subscriptions_and_its_kept_answers(storeless: dict[str, str], by: str) -> None:
    keys = Path(storeless["MILLRACE_HOME"]) / "keys"
    token, other = (make_token(keys, "merchant", ["w"], 600) for _ in range(2))
    claims = jwt.decode(token, options={"verify_signature": False})
    taken = {"tokens": [claims["jti"]]} if by == "token" else {"subjects": {"local-merchant": claims["iat"]}}
    withdrawn = keys / f"withdrawn-{by}.json"
    settings = {
        "MILLRACE_API_WITHDRAWN": str(withdrawn),
        "MILLRACE_API_JWKS": str(keys / "jwks.json"),
        "MILLRACE_API_WITHDRAWN_SECONDS": "0.2",
    }

    async def main(url: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client, connected(url) as socket:

            async def status(of: str) -> tuple[int, str]:
                answer = await client.post("/graphql", json={"query": QUERY}, headers={"Authorization": f"Bearer {of}"})
                return answer.status_code, answer.headers.get("x-millrace-cache", "")

            async def is_kept() -> bool:
                return await status(token) == (200, "hit")

            await until(is_kept)
            await socket.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
            assert (await socket.next())["type"] == "connection_ack"
            await socket.send(subscribe("w"))
            body = {"query": CHANGES, "variables": {"m": "w"}}
            async with client.stream("POST", "/graphql", json=body, headers={"Accept": "text/event-stream"}) as events:
                assert events.status_code == 200
                draft = keys / "draft"
                draft.write_text(json.dumps(taken))
                draft.replace(withdrawn)
                while isinstance(message := await socket.next(), dict):
                    assert message["type"] == "next"
                assert message == 4401
                async for _ in events.aiter_lines():  # to its end
                    pass

            async def is_refused() -> bool:
                return (await status(token))[0] == 401

            await until(is_refused)
            assert (await status(other))[0] == (200 if by == "token" else 401)

    with serving({**storeless, **settings}) as (url, _):
        wait_for(f"{url}/health", 200)
        asyncio.run(asyncio.wait_for(main(url), 300))
