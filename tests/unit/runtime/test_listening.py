"""A port is found before a server starts, and one that is in use is named with the fix."""

import socket
import threading

import click
import psutil
import pytest

from millrace_runtime.listening import port_for

ADDRESSES = {address.address for interface in psutil.net_if_addrs().values() for address in interface}
IPV6 = ["::1"] if "::1" in ADDRESSES else []  # not every machine has it


def listener() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", *IPV6])
def test_a_free_port_is_found_and_can_be_listened_on(address: str) -> None:
    port = port_for(address, 0)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
        taken.bind((address, port))


def test_the_port_that_is_asked_for_is_given() -> None:
    port = port_for("127.0.0.1", 0)
    assert port_for("127.0.0.1", port) == port


def test_a_port_in_use_is_named_with_the_fix() -> None:
    with listener() as other:
        port = other.getsockname()[1]
        with pytest.raises(click.UsageError) as refused:
            port_for("127.0.0.1", port, patience=0)
    assert refused.value.message == (
        f"--port {port}: can not listen on 127.0.0.1:{port} (Address already in use); choose another, 0 for a free one"
    )


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(click.UsageError, match=r"can not listen on 192\.0\.2\.1:0"):
        port_for("192.0.2.1", 0, patience=0)


def test_a_process_that_is_replaced_is_waited_for() -> None:
    other = listener()
    port = other.getsockname()[1]
    leaves = threading.Timer(0.3, other.close)
    leaves.start()
    assert port_for("127.0.0.1", port, patience=60) == port
    leaves.join()
