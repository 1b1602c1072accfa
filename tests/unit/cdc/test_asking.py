"""The filter of a snapshot, as it is given on the command line."""

import pytest

from millrace_cdc.asking import parsed
from millrace_cdc.errors import Misconfigured


def test_a_filter_is_extended_json() -> None:
    assert parsed('{"merchantId": "m1", "amount": {"$gt": {"$numberLong": "5"}}}') == {"merchantId": "m1", "amount": {"$gt": 5}}


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"merchantId": "m1", "merchantId": "m2"}', "merchantId is given twice"), ("{", "it is not JSON"), ("[]", "it is not an object")],
)
def test_another_text_is_refused_in_its_words(text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        parsed(text)
