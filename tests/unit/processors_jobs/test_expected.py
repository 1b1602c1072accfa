"""The time that a dry run expects, by hand."""

from __future__ import annotations

import pytest

from millrace_processors.expected import Ran, expected
from millrace_processors.refresh import Refreshed
from millrace_processors.reprocessing import Reprocessed

LAKE = Reprocessed(Refreshed(reports=10, facts=1_000_000))
KAFKA = Reprocessed(Refreshed(reports=10, facts=7), events=30_000)


@pytest.mark.parametrize(
    ("source", "done", "dry", "earlier", "seconds", "words"),
    [
        ("lake", LAKE, 8.0, Ran(500_000, 10.0), 20.0, "the last run, which wrote 500,000 facts at 50,000/s"),
        ("lake", LAKE, 25.0, Ran(500_000, 10.0), 25.0, "no less than this dry run"),
        ("lake", LAKE, 8.0, Ran(90_000, 10.0), 8.0, "the last run had only 90,000 facts to know its rate from"),
        ("lake", LAKE, 8.0, None, 8.0, "this dry run, which did all but write: the writing comes on top; there was no run"),
        ("kafka", KAFKA, 1.0, Ran(15_000, 3.0), 6.0, "15,000 events at 5,000/s"),
        ("mongo", KAFKA, 1.0, Ran(60_000, 3.0), 1.5, "60,000 payments at 20,000/s"),
        ("lake", Reprocessed(Refreshed()), 0.5, Ran(15_000, 3.0), 0.5, "this dry run"),
    ],
)
def test_it_rests_on_a_run_that_is_like_this_one_or_on_the_dry_run(
    source: str, done: Reprocessed, dry: float, earlier: Ran | None, seconds: float, words: str
) -> None:
    found = expected(source, done, dry, earlier)
    assert found.seconds == seconds
    assert words in found.rests_on
