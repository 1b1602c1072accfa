"""Whatever is asked of REST, the answer is one that the OpenAPI document has, and none is an internal error."""

import random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from millrace_graphql.rest import openapi
from tests.integration.graphql_api.conftest import Api, run
from tests.integration.graphql_api.questions import fortnight
from tests.integration.graphql_api.store import Store

pytestmark = pytest.mark.stack

REQUESTS = 300
INSTANTS = [
    "2026-10-04T15:00:00Z", "2026-10-05T15:00:00Z", "2026-10-18T15:00:00Z", "2026-10-05T00:00:00+09:00", "2026-11-01T00:00:00Z",
    "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "today", "",
]  # fmt: skip
JUNK = ["", "0", "-1", "1.5", "true", "null", "ÿ", "\x00", "x" * 5_000, "' OR 1=1", "DAY,HOUR", "１"]
JUNK += ["UTC", "Asia/Seoul", "USD", "KRW", "EUR", "5"]


def given(chance: random.Random, parameters: list[dict[str, Any]]) -> dict[str, str]:
    """Values for some of the parameters: mostly ones that fit."""
    values: dict[str, str] = {}
    for parameter in parameters:
        schema = parameter["schema"]
        if parameter["in"] == "path" or (not parameter["required"] and chance.random() < 0.5):
            continue
        fitting = schema.get("enum") or (INSTANTS if schema.get("format") == "date-time" else JUNK)
        values[parameter["name"]] = chance.choice(fitting if chance.random() < 0.9 else JUNK)
    if chance.random() < 0.05:
        values["unknown"] = "1"
    return values


def test_random_requests_are_answered_as_documented(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "documented")
    document = openapi.document()
    chance = random.Random(20261125)

    async def scenario(api: Api) -> None:
        statuses: dict[int, int] = {}
        for _ in range(REQUESTS):
            path, item = chance.choice(list(document["paths"].items()))
            params = given(chance, item["get"]["parameters"])
            merchant = chance.choice(["documented", "documented", "documented", "other", "nobody"])
            answer = await api.get(path.replace("{id}", merchant), ["documented", "nobody"], params=params)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            described = item["get"]["responses"].get(str(answer.status_code))
            assert described is not None, (answer.status_code, path, params, answer.text[:300])
            media = answer.headers["content-type"].split(";")[0]
            assert media in described["content"], (path, params, media)
            if media.endswith("json"):
                schema = described["content"][media]["schema"]
                Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())
        # The draw reaches good answers and each kind of refusal.
        assert statuses[200] > REQUESTS / 10
        assert {200, 400, 403, 404} <= set(statuses)

    run(environ, scenario)
