"""Fact ids: no two facts share one, and an ordinary id is what it always was."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.facts import payment_fact_id, refund_fact_id

SHORT = ["".join(each) for length in range(4) for each in itertools.product("A/~1", repeat=length)]
"""Every text of up to three characters, of those that separate and escape."""
TEXTS = st.text(st.sampled_from("A/~01%:"), max_size=8) | st.text(max_size=6)
ORDINARY = st.text(min_size=1, max_size=30).filter(lambda text: "/" not in text)


def test_the_payment_with_a_slash_is_not_the_refund() -> None:
    assert payment_fact_id("A/B") == "/A~1B"
    assert refund_fact_id("A", "B") == "A/B"
    assert refund_fact_id("A/B", "C") == "/A~1B/C"


def test_no_two_short_facts_share_an_id() -> None:
    facts: list[tuple[str, str | None]] = [(payment, None) for payment in SHORT]
    facts += itertools.product(SHORT, SHORT)
    ids = {payment_fact_id(payment) if refund is None else refund_fact_id(payment, refund) for payment, refund in facts}
    assert len(ids) == len(facts)


@given(TEXTS, st.none() | TEXTS, TEXTS, st.none() | TEXTS)
def test_no_two_facts_share_an_id(payment: str, refund: str | None, other: str, others: str | None) -> None:
    first = payment_fact_id(payment) if refund is None else refund_fact_id(payment, refund)
    second = payment_fact_id(other) if others is None else refund_fact_id(other, others)
    assert (first == second) == ((payment, refund) == (other, others))


@given(ORDINARY, st.text(max_size=30))
def test_an_ordinary_id_is_kept_byte_for_byte(payment: str, refund: str) -> None:
    assert payment_fact_id(payment) == payment
    assert refund_fact_id(payment, refund) == payment + "/" + refund
