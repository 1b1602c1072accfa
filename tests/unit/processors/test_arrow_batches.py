"""What a worker holds of a key is a batch of it, however many facts the key has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pyarrow as pa

from millrace_processors.arrow_batches import whole_facts, whole_reports
from tests.unit.processors.test_reports import WINDOW, arranged, fact

ROWS = 100


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (batch.slice(at, ROWS) for at in range(0, batch.num_rows, ROWS))


def test_a_merchant_with_a_thousand_times_the_facts_of_the_others_is_read_a_batch_at_a_time() -> None:
    few = [fact(merchant_id=f"a{number}", fact_id=f"f{number}") for number in range(9)]
    many = [fact(merchant_id="b", fact_id=f"p{number:05d}", amount=number) for number in range(9_000)]
    batch = arranged([*few, *many, fact(merchant_id="c")])
    assert max(each.num_rows for each in whole_facts(pieces(batch))) <= 2 * ROWS
    found = [reports for reports, _ in whole_reports(pieces(batch))]
    gross = {name: int(value) for each in found for name, value in zip(each.merchants, each.counters["gross"].tolist(), strict=True)}
    assert gross == {**{f"a{number}": 100 for number in range(9)}, "b": sum(range(9_000)), "c": 100}


def test_every_fact_is_read_once_and_counted() -> None:
    batch = arranged([fact(fact_id=f"p{number:04d}", version=version) for number in range(300) for version in (1, 2, 3)])
    whole = list(whole_facts(pieces(batch)))
    assert pa.Table.from_batches(whole).equals(pa.Table.from_batches([batch]))
    for before, after in itertools.pairwise(whole):
        assert before.column("fact_id")[-1] != after.column("fact_id")[0]
    ((reports, rows),) = list(whole_reports(pieces(batch)))
    assert (rows, reports.counters["payments"].tolist(), reports.revision.tolist()) == (900, [300], [900])


def test_a_batch_gives_its_reports_at_once() -> None:
    """One round of writes, and one notice a merchant."""
    batch = arranged([fact(merchant_id=name, window_start=WINDOW + slot * 600_000_000) for name in "ab" for slot in range(3)])
    ((found, rows),) = list(whole_reports(iter([batch])))
    assert (found.merchants, rows) == (["a"] * 3 + ["b"] * 3, 6)
