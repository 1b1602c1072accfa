"""What Iceberg's readers leave behind in the JVM of a stream is let go of between two batches."""

from __future__ import annotations

import pytest

from millrace_processors import session
from tests.integration.processors.conftest import Place
from tests.integration.processors.events import change, payment

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_readers_of_the_lake_are_released_and_the_next_batch_reads_again(place: Place) -> None:
    place.produce([change("c", payment("p1"), at=1)])
    place.run(0)
    assert session.release_readers(place.spark) > 0
    assert session.release_readers(place.spark) == 0
    place.produce([change("c", payment("p2", amount=7), at=2)])
    place.run(1)
    assert list(place.reports("payments", "gross").values()) == [(2, 107)]
