"""The analysis tier rolls days up that the API looks for: both begin each day of each zone at the same instant."""

from datetime import UTC, datetime

import pytest

from millrace_contracts.windows import to_ms
from millrace_graphql.ranges.calendar import days
from millrace_processors import rollup_calendar
from tests.unit.graphql_api.test_calendar import CHANGEFUL

SINCE, UNTIL = to_ms(datetime(2005, 1, 10, tzinfo=UTC)), to_ms(datetime(2030, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("zone", CHANGEFUL)
def test_a_day_begins_at_the_same_instant_in_both_tiers(zone: str) -> None:
    theirs = rollup_calendar.day_starts(zone, SINCE, UNTIL)
    ours, _ = days(zone, int(theirs[0]), int(theirs[-1]))
    assert theirs.tolist() == ours.tolist()
