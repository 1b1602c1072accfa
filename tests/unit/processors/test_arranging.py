"""Facts sorted by a number that does not tell all of them apart give the reports of those that are sorted exactly."""

from __future__ import annotations

import random
from typing import Any
from zlib import crc32

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_processors.arranging import FACT_BITS, ORDER, settled
from millrace_processors.arrow_batches import whole_facts, whole_reports
from tests.support.examples import examples
from tests.unit.processors.test_reports import FACTS, arranged, by_definition, fact, in_pieces


def numbered(facts: list[dict[str, Any]], keys: int, seed: int) -> pa.RecordBatch:
    """Facts by a number that is one of so many for the key and one of three for the fact, those with one number in any order."""
    exact = arranged(facts).to_pylist()
    random.Random(seed).shuffle(exact)

    def number(each: dict[str, Any]) -> int:
        key = crc32(repr((each["merchant_id"], each["window_start"], each["currency"])).encode()) % keys - 1
        return (key << FACT_BITS) + crc32(each["fact_id"].encode()) % 3

    exact.sort(key=number)
    batch = pa.RecordBatch.from_pylist(exact, arranged(facts).schema)
    return batch.append_column(ORDER, pa.array(map(number, exact), pa.int64()))


@given(FACTS, st.lists(st.integers(1, 7), min_size=40, max_size=40), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=examples(50), deadline=None)
def test_reports_are_the_same_however_many_facts_and_keys_share_a_number(  # I6
    facts: list[dict[str, Any]], cuts: list[int], keys: int, seed: int
) -> None:
    assert in_pieces(numbered(facts, keys, seed), cuts) == by_definition(facts)


def test_facts_with_numbers_of_their_own_stay_where_they_are() -> None:
    batch = arranged([fact(fact_id=f"p{number}") for number in range(5)]).append_column(ORDER, pa.array(range(5), pa.int64()))
    assert settled(batch) is batch


def test_only_the_end_of_a_batch_waits_for_the_next_one() -> None:
    batch = arranged([fact(fact_id=f"p{number}", version=version) for number in range(4) for version in (1, 2)])
    batch = batch.append_column(ORDER, pa.array([0, 0, 1, 1, 2, 2, 3, 3], pa.int64()))
    sizes = [each.num_rows for each in whole_facts(iter([batch.slice(0, 5), batch.slice(5, 0), batch.slice(5, 2), batch.slice(7)]))]
    assert sizes == [4, 2, 2]


def test_many_keys_of_one_number_are_held_no_longer_than_their_run() -> None:
    facts = [fact(merchant_id=f"m{number:03d}", fact_id=f"p{version}", version=version) for number in range(60) for version in (1, 2)]
    whole = numbered(facts, 5, 1)
    found = [len(reports) for reports, _ in whole_reports(whole.slice(at, 7) for at in range(0, whole.num_rows, 7))]
    assert len(found) >= 4
    assert sum(found) == 60
