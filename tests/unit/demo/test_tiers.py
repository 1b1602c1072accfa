"""How the demo runs our tiers, without running them."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.environment import joined
from millrace_stack.demo.tiers import LAKE_PARTITION, ORDER, specs
from millrace_stack.home import Home


@pytest.mark.parametrize(("given", "expected"), [({}, "months"), ({LAKE_PARTITION: "hours"}, "hours")])
def test_every_command_of_the_home_sees_the_lakes_partition(tmp_path: Path, given: dict[str, str], expected: str) -> None:
    # `process tables` makes the table before any tier runs, and `process stream` only finds it.
    specs(Home(tmp_path), given)
    assert joined({}, tmp_path)[LAKE_PARTITION] == expected


def test_each_tier_has_a_port_of_its_own_and_is_probed_there(tmp_path: Path) -> None:
    made = specs(Home(tmp_path), {})
    assert tuple(made) == ORDER
    ports = [made[tier].ports[tier] for tier in ORDER]
    assert len(set(ports)) == len(ORDER)
    for tier, port in zip(ORDER, ports, strict=True):
        assert str(port) in made[tier].command
