"""How many examples a property test draws: a few in every run, forty times as many in `make properties`."""

from __future__ import annotations

import os

DEFAULT = 25
TIMES = int(os.environ.get("MILLRACE_TEST_EXAMPLES", "1"))


def examples(count: int = DEFAULT) -> int:
    """The number for `settings(max_examples=...)`."""
    return count * TIMES
