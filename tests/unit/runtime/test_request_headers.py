"""Headers that every service refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_runtime.request_headers import fault_of

NAMES = st.sampled_from([b"authorization", b"content-type", b"accept", b"idempotency-key", b"x-request-id", b"cookie"])


@given(st.lists(st.tuples(NAMES, st.sampled_from([b"a", b"b", b""])), max_size=6), st.sampled_from(["GET", "POST"]))
def test_one_of_each_is_taken_and_a_second_one_is_not_whatever_it_says(headers: list[tuple[bytes, bytes]], method: str) -> None:
    single = [name for name, _ in headers if name in (b"authorization", b"content-type", b"idempotency-key")]
    found = fault_of(headers, method)
    if len(set(single)) == len(single):
        assert found is None
    else:
        assert found is not None
        assert (found.status, found.headers) == (400, {})
        assert found.detail.split(" ")[0].lower().encode() in single


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"br", b"x-nothing", b"identity, gzip", b"\xff"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_coding_is_refused_with_the_one_that_is_taken(coding: bytes, method: str) -> None:
    found = fault_of([(b"content-type", b"application/json"), (b"content-encoding", coding)], method)
    assert found is not None
    assert (found.status, found.headers) == (415, {"Accept-Encoding": "identity"})
    assert coding.decode("latin-1") in found.detail or "\\xff" in found.detail or "ÿ" in found.detail


@pytest.mark.parametrize("coding", [b"identity", b"Identity", b"", b"identity, identity"])
def test_a_body_that_is_sent_as_it_is_is_taken(coding: bytes) -> None:
    assert fault_of([(b"content-encoding", coding)], "POST") is None


def test_a_request_without_a_body_has_no_coding() -> None:
    assert fault_of([(b"content-encoding", b"gzip")], "GET") is None
