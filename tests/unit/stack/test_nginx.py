"""The deployed configuration of nginx, with local addresses: what is put in its place, and that nothing else is."""

from __future__ import annotations

import difflib
from pathlib import Path

import crossplane
import pytest
from click.testing import CliRunner

from millrace.main import cli
from millrace_stack.errors import StackError
from millrace_stack.nginx import address, configuration

DEPLOYED = Path(__file__).parents[3] / "deploy" / "nginx" / "nginx.conf"
PORTS = {"nginx": 20_001, "nginx-operators": 20_002, "nginx-health": 20_003}


def made(**upstreams: list[str]) -> str:
    return configuration(DEPLOYED.read_text(), Path("/home/of/nginx"), PORTS, upstreams)


def test_only_addresses_ports_and_folders_are_put_in_their_place(tmp_path: Path) -> None:
    text = made(api=["127.0.0.1:8001", "127.0.0.1:8002"], query=["127.0.0.1:8003"])
    changed = [line for line in difflib.ndiff(DEPLOYED.read_text().splitlines(), text.splitlines()) if line[0] in "+-"]
    assert {line[2:].split()[0] for line in changed} <= {
        "server", "resolver", "listen", "pid", "client_body_temp_path", "proxy_temp_path", "fastcgi_temp_path", "uwsgi_temp_path",
        "scgi_temp_path",
    }  # fmt: skip
    assert [line[2:].strip() for line in changed if line[0] == "+" and "server " in line] == [
        "server 127.0.0.1:8001 max_fails=2 fail_timeout=5s;",
        "server 127.0.0.1:8002 max_fails=2 fail_timeout=5s;",
        "server 127.0.0.1:9 max_fails=2 fail_timeout=5s;",
        "server 127.0.0.1:8003 max_fails=2 fail_timeout=5s;",
        "server 127.0.0.1:9;",
    ]
    assert [line[2:].strip() for line in changed if line[0] == "+" and "listen" in line] == [
        f"listen 127.0.0.1:{port};" for port in PORTS.values()
    ]
    assert "resolve" not in text
    path = tmp_path / "nginx.conf"
    path.write_text(text)
    assert crossplane.parse(str(path), single=True)["errors"] == []


def test_workers_of_root_run_as_the_user_that_is_given() -> None:
    text = configuration(DEPLOYED.read_text(), Path("/x"), PORTS, {}, "root")
    assert text.splitlines()[0] == "user root;"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "https://127.0.0.1:8000", "http://127.0.0.1", "http://127.0.0.1:x", "http://a:1/graphql"]
)
def test_what_is_no_replica_is_named(url: str) -> None:
    with pytest.raises(StackError, match="is not the URL of a replica; give one such as"):
        address(url)


def test_the_command_says_what_it_is_given_wrongly(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["stack", "nginx", "--api", "localhost"], env={"MILLRACE_HOME": str(tmp_path)})
    assert found.exit_code != 0
    assert "'localhost' is not the URL of a replica" in found.output
    assert "Traceback" not in found.output
