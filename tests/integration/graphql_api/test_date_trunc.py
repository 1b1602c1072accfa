"""The calendar cuts time as MongoDB's own $dateTrunc does, wherever the two know the same rules of a zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pymongo import MongoClient

from millrace_contracts.windows import from_ms, to_ms
from millrace_graphql.ranges.calendar import Grain, boundaries
from tests.unit.graphql_api.test_calendar import CHANGEFUL

pytestmark = pytest.mark.stack
Database = Any
HOUR, DAY = 3_600_000, 86_400_000
START, END = to_ms(datetime(2021, 8, 1, tzinfo=UTC)), to_ms(datetime(2022, 6, 1, tzinfo=UTC))
"""Both changes of the clocks of a year that the server's own table of zones, which is older than ours, is sure to know."""
UNITS = {Grain.HOUR: "hour", Grain.DAY: "day", Grain.WEEK: "week", Grain.MONTH: "month"}
ZONES = sorted({*CHANGEFUL, "Australia/Eucla", "Asia/Katmandu", "NZ-CHAT", "Asia/Kolkata", "America/St_Johns", "Asia/Colombo"})


@pytest.fixture(scope="module")
def database(mongo_server: dict[str, str]) -> Iterator[Database]:
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_server["MILLRACE_MONGO_ADMIN_URI"])
    yield client.get_database("admin")
    client.close()


def asked(database: Database, instants: list[int], expression: dict[str, Any]) -> list[Any]:
    """An expression of ``$$at`` for each instant."""
    mapped = {"$map": {"input": [from_ms(each) for each in instants], "as": "at", "in": expression}}
    [row] = database.aggregate([{"$documents": [{}]}, {"$project": {"found": mapped}}])
    return list(row["found"])


def offset(zone: str, instant: int) -> int:
    shift = from_ms(instant).astimezone(ZoneInfo(zone)).utcoffset()
    assert shift is not None
    return shift // timedelta(milliseconds=1)


def alike(database: Database, zone: str, instants: list[int]) -> list[int]:
    """Those of the instants at which the server's table of zones has the offset that ours has."""
    minutes = asked(database, instants, {"$dateToString": {"date": "$$at", "format": "%Z", "timezone": zone}})
    return [at for at, found in zip(instants, minutes, strict=True) if int(found) * 60_000 == offset(zone, at)]


@pytest.mark.parametrize("zone", ZONES)
def test_windows_hold_the_instants_that_mongodb_truncates_to_one(database: Database, zone: str) -> None:
    days = boundaries(Grain.DAY, zone, START, END)
    changes = [at for at in days[:-1].tolist() if offset(zone, at) != offset(zone, at + DAY)]
    near = [at + place * HOUR // 4 for at in (*changes, int(days[3])) for place in range(-4, 104)]
    every = sorted({*near, *(each + shift for each in near for shift in (-1, 1)), *days.tolist(), *(days - 1).tolist()})
    instants = alike(database, zone, every)
    assert len(instants) > len(every) / 2
    for grain, unit in UNITS.items():
        # $dateTrunc counts hours from the first of January 2000: where the offset has moved by half an hour since, off the wall clock.
        then = offset(zone, to_ms(datetime(2000, 1, 1, tzinfo=UTC)))
        chosen = [at for at in instants if grain is not Grain.HOUR or (offset(zone, at) - then) % HOUR == 0]
        week = {"startOfWeek": "monday"} if grain is Grain.WEEK else {}
        theirs = asked(database, chosen, {"$dateTrunc": {"date": "$$at", "unit": unit, "timezone": zone, **week}})
        bounds = boundaries(grain, zone, START - 40 * DAY, END + 40 * DAY)
        ours = np.searchsorted(bounds, np.array(chosen, np.int64), side="right")
        # What is compared is which instants stand together: of an hour that a midnight repeats the server names the second one.
        together = [theirs[place] == theirs[place - 1] for place in range(1, len(chosen))]
        assert together == (np.diff(ours) == 0).tolist(), (grain, zone)
