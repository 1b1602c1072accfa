"""Ports are chosen once per home and remembered."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from millrace_contracts.settings import SettingsError
from millrace_stack import ports
from millrace_stack.errors import PortTaken
from millrace_stack.home import Home
from millrace_stack.settings import StackSettings
from tests.support.ports import free_port


def test_a_second_start_gets_the_same_ports(tmp_path: Path) -> None:
    first = ports.assign(Home(tmp_path), ["mongo", "kafka"], {})
    assert ports.assign(Home(tmp_path), ["kafka", "mongo"], {}) == first
    assert len(set(first.values())) == 2


def test_ports_lie_below_those_of_outgoing_connections(tmp_path: Path) -> None:
    assigned = ports.assign(Home(tmp_path), [f"p{number}" for number in range(200)], {})
    assert all(20_000 <= port < 32_768 for port in assigned.values())
    assert len(set(assigned.values())) == 200


def test_a_chosen_port_wins_and_is_remembered(tmp_path: Path) -> None:
    ports.assign(Home(tmp_path), ["mongo"], {})
    port = free_port()
    assert ports.assign(Home(tmp_path), ["mongo"], {"mongo": port}) == {"mongo": port}
    assert ports.assign(Home(tmp_path), ["mongo"], {}) == {"mongo": port}
    with socket.create_server(("127.0.0.1", port)):  # as once its server runs
        assert ports.assign(Home(tmp_path), ["mongo"], {"mongo": port}) == {"mongo": port}
        assert ports.assign(Home(tmp_path), ["mongo"], {}) == {"mongo": port}


@pytest.mark.parametrize("before", [[], ["mongo"]])
def test_a_chosen_port_that_is_taken_is_not_remembered(tmp_path: Path, before: list[str]) -> None:
    remembered = ports.assign(Home(tmp_path), before, {})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ports.assign(Home(tmp_path), ["mongo"], {"mongo": port}) == {"mongo": port}, "so that its start names who listens there"
        after = ports.assign(Home(tmp_path), ["mongo"], {})
    assert after["mongo"] != port
    assert after == (remembered or after)


def test_a_listener_makes_a_port_taken_and_its_end_frees_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken) as raised:
            ports.require_free({"kafka": port})
        assert raised.value.port == port
    ports.require_free({"kafka": port})


def test_a_port_that_nobody_can_be_named_for_is_waited_for() -> None:
    # As of a process of which only the last threads are left.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        threading.Timer(0.3, bound.close).start()
        ports.require_free({"mongo": port})


def test_chosen_ports_are_read_from_one_setting() -> None:
    settings = StackSettings.load({"MILLRACE_STACK_PORTS": "mongo=27017, kafka=9092"})
    assert settings.chosen_ports() == {"mongo": 27017, "kafka": 9092}
    assert StackSettings.load({}).chosen_ports() == {}


@pytest.mark.parametrize("value", ["mongo", "mongo=", "mongo=x", "mongo=0", "mongo=65536"])
def test_a_chosen_port_that_is_none_names_itself(value: str) -> None:
    with pytest.raises(SettingsError, match=f"MILLRACE_STACK_PORTS: '{value}' is not NAME=PORT"):
        StackSettings.load({"MILLRACE_STACK_PORTS": value}).chosen_ports()


def test_a_port_that_is_given_up_in_time_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Timer(0.3, server.close).start()
        ports.require_free({"kafka": port}, within=60)
