"""Debian's nginx in front of local tiers, with the configuration that is deployed: ``millrace stack nginx``.

Only what a container gives it is put in its place: addresses instead of names, ports of its own, and a folder to write to.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from millrace_stack import ports
from millrace_stack.errors import PrerequisiteMissing, StackError
from millrace_stack.home import Home
from millrace_stack.processes import Owned, Processes, ProcessSpec
from millrace_stack.readiness import http_ok

NAME = "nginx"
_LISTENS = {"8080": "nginx", "8081": "nginx-operators", "8082": "nginx-health"}
"""Port of the deployed configuration -> name of the local one."""
_NOWHERE = "127.0.0.1:9"
_DEPLOYED = Path(__file__).parents[2] / "deploy" / "nginx" / "nginx.conf"
_UPSTREAM = re.compile(r"(upstream (\w+) \{.*?)^(\s*)server ([^;\s]+) resolve([^;]*);", re.DOTALL | re.MULTILINE)


def configuration(text: str, folder: Path, assigned: Mapping[str, int], upstreams: Mapping[str, Sequence[str]], user: str = "") -> str:
    """The deployed configuration for this machine.

    Args:
        text: deploy/nginx/nginx.conf.
        folder: where nginx writes.
        assigned: local port by name, those of ``_LISTENS``.
        upstreams: host:port of each replica, by the upstream's name; one without any refuses its requests.
        user: whose files the workers read, where nginx starts as root.
    """

    def servers(found: re.Match[str]) -> str:
        head, name, indent, _, options = found.groups()
        lines = [f"{indent}server {address}{options};" for address in upstreams.get(name) or [_NOWHERE]]
        return head + "\n".join(lines)

    text = _UPSTREAM.sub(servers, text)
    text = re.sub(r"^\s*resolver [^;]*;\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"listen (\d+);", lambda found: f"listen 127.0.0.1:{assigned[_LISTENS[found[1]]]};", text)
    text = text.replace("/tmp/", f"{folder}/")  # noqa: S108 - what the deployed one has
    return f"user {user};\n{text}" if user else text


def program() -> str:
    """The path of nginx.

    Raises:
        PrerequisiteMissing: it is not installed.
    """
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise PrerequisiteMissing("no nginx here; on Debian or Ubuntu: apt-get install -y --no-install-recommends nginx-light")
    return found


def address(url: str) -> str:
    """host:port of a replica's URL.

    Raises:
        StackError: it is no http URL with a port.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None or parts.path not in ("", "/"):
        raise StackError(f"{url!r} is not the URL of a replica; give one such as http://127.0.0.1:8000")
    return f"{parts.hostname}:{port}"


def start(home: Home, upstreams: Mapping[str, Sequence[str]], chosen: Mapping[str, int]) -> Owned:
    """Start nginx as a process of this home, or wait for the one that runs.

    Raises:
        StackError: there is no nginx, no configuration (outside of a checkout), or it did not start.
    """
    path, folder = program(), home.folder("data", NAME)
    if not _DEPLOYED.is_file():
        raise StackError(f"{_DEPLOYED} is not there; run this in a checkout")
    assigned = ports.assign(home, _LISTENS.values(), chosen)
    user = "root" if os.geteuid() == 0 else ""
    made = folder / "nginx.conf"
    made.write_text(configuration(_DEPLOYED.read_text(), folder, assigned, upstreams, user))
    spec = ProcessSpec(
        NAME,
        [path, "-p", str(folder), "-c", str(made), "-g", "daemon off;"],
        ready=http_ok(f"http://127.0.0.1:{assigned['nginx-health']}/health"),
        ports=assigned,
        ready_within=20.0,
    )
    return Processes(home).start(spec)
