"""Documents by their hash: automatic persisted queries and trusted documents."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from millrace_contracts.settings import SettingsError
from millrace_graphql.http.persisted import load_manifest
from millrace_graphql.settings import ApiSettings
from tests.unit.graphql_api.test_http import Client, Questions, client_for

QUERY = "{ viewer { role } }"
HASH = hashlib.sha256(QUERY.encode()).hexdigest()
NAMED = {"persistedQuery": {"version": 1, "sha256Hash": HASH}}
ANSWER = {"data": {"viewer": {"role": "merchant"}}}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return client_for(tmp_path, Questions())


def code(answer: Any) -> str:
    found: str = answer.json()["errors"][0]["extensions"]["code"]
    return found


def test_a_document_is_sent_once_and_then_named_by_its_hash(client: Client) -> None:
    unknown = client.post("/graphql", json={"extensions": NAMED})
    assert (unknown.json()["errors"][0]["message"], code(unknown)) == ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
    assert client.post("/graphql", json={"query": QUERY, "extensions": NAMED}).json() == ANSWER
    assert client.post("/graphql", json={"extensions": NAMED}).json() == ANSWER
    assert client.get("/graphql", params={"extensions": json.dumps(NAMED)}).json() == ANSWER
    assert client.post("/graphql", json={"documentId": f"sha256:{HASH}"}).json() == ANSWER


def test_a_text_that_is_not_its_hashs_is_refused_and_not_kept(client: Client) -> None:
    answer = client.post("/graphql", json={"query": "{ viewer { merchants { id } } }", "extensions": NAMED})
    assert (answer.status_code, "is not the SHA-256" in answer.text) == (400, True)
    assert code(client.post("/graphql", json={"extensions": NAMED})) == "PERSISTED_QUERY_NOT_FOUND"


def test_an_invalid_document_is_not_kept(client: Client) -> None:
    text = "{ nothing }"
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(text.encode()).hexdigest()}}
    assert code(client.post("/graphql", json={"query": text, "extensions": extensions})) == "BAD_REQUEST"
    assert code(client.post("/graphql", json={"extensions": extensions})) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    "extensions",
    [
        {"persistedQuery": "x"},
        {"persistedQuery": {"version": 2, "sha256Hash": HASH}},
        {"persistedQuery": {"version": 1, "sha256Hash": HASH.upper()}},
        {"persistedQuery": {"version": 1, "sha256Hash": "abc"}},
        {"persistedQuery": {"version": 1}},
    ],
)
def test_a_malformed_hash_is_a_bad_request(client: Client, extensions: dict[str, Any]) -> None:
    assert client.post("/graphql", json={"extensions": extensions}).status_code == 400


def manifest(folder: Path, content: Any) -> str:
    path = folder / "trusted.json"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("form", [{HASH: QUERY}, {"operations": [{"id": HASH, "body": QUERY}]}, {f"sha256:{HASH}": QUERY}])
def test_with_a_manifest_only_its_documents_run(tmp_path: Path, form: Any) -> None:
    trusting = client_for(tmp_path, Questions(), trusted_documents=manifest(tmp_path, form))
    assert trusting.post("/graphql", json={"query": QUERY}).json() == ANSWER
    assert trusting.post("/graphql", json={"documentId": HASH}).json() == ANSWER
    for other in ({"query": "{ __typename }"}, {"query": QUERY + " "}, {"documentId": "0" * 64}):
        assert code(trusting.post("/graphql", json=other)) == "UNTRUSTED_DOCUMENT"


@pytest.mark.parametrize("content", [[], {"operations": [{}]}, {HASH: "{ another }"}, {HASH: 5}])
def test_a_bad_manifest_names_the_setting_at_the_start(tmp_path: Path, content: Any) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_API_TRUSTED_DOCUMENTS"):
        load_manifest(manifest(tmp_path, content), ApiSettings.variable("trusted_documents"))
