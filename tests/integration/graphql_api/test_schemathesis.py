"""Schemathesis, which knows nothing of this API but its OpenAPI document, finds nothing that the document does not say."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from millrace_graphql.rest import openapi
from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.questions import fortnight
from tests.integration.graphql_api.store import Store
from tests.integration.graphql_api.test_process import serving, wait_for

pytestmark = pytest.mark.stack
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 6
"""Of each operation."""


def test_every_operation_is_as_its_document_says(environ: dict[str, str], store: Store) -> None:
    fortnight(store, "documented")
    token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", ["documented"], 600)
    document = schemathesis.openapi.from_dict(openapi.document())
    seen = []
    with serving(environ) as (url, _):
        wait_for(f"{url}/ready", 200)
        for found in document.get_all_operations():
            operation = found.ok()

            @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(), st.booleans())
            def check(case: Any, own: bool) -> None:
                if own and "id" in case.path_parameters:
                    case.path_parameters["id"] = "documented"
                response = case.call(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
                case.validate_response(response, checks=CHECKS)

            check()
            seen.append(operation.path)
    assert sorted(seen) == sorted(openapi.document()["paths"])
