"""nginx.conf, read by a parser that knows nginx's directives, their contexts and their arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane
import pytest

from millrace_collection import payment_routes, profile_routes
from millrace_collection.settings import CollectionSettings
from millrace_graphql.rest import openapi
from millrace_graphql.settings import ApiSettings
from tests.unit.deploy.files import DEPLOY, services

CONF = DEPLOY / "nginx" / "nginx.conf"


def parse(path: Path, strict: bool = False) -> dict[str, Any]:
    parsed: dict[str, Any] = crossplane.parse(str(path), single=True, strict=strict, check_ctx=True, check_args=True)
    return parsed


def walk(block: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for directive in block:
        yield directive
        yield from walk(directive.get("block", []))


def directives(name: str, block: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    start = parse(CONF)["config"][0]["parsed"] if block is None else block
    return [directive for directive in walk(start) if directive["directive"] == name]


def server(port: str) -> dict[str, Any]:
    [found] = [each for each in directives("server") if "block" in each and directives("listen", each["block"])[0]["args"][0] == port]
    return found


def location(path: str) -> dict[str, Any]:
    """The location of the public server that nginx would take for a path: exact first, then expressions, then the prefix."""
    all_of_them = [each for each in server("8080")["block"] if each["directive"] == "location"]
    for each in all_of_them:
        if each["args"] == ["=", path]:
            return each
    for each in all_of_them:
        if each["args"][0] == "~" and re.search(each["args"][1], path):
            return each
    [prefix] = [each for each in all_of_them if each["args"] == ["/"]]
    return prefix


def test_every_directive_is_known_and_stands_where_it_may() -> None:
    # What stands inside `map` are values to match, not directives.
    values = {each["line"] for block in directives("map") for each in block["block"]}
    assert [error["error"] for error in parse(CONF, strict=True)["errors"] if error["line"] not in values] == []


def test_the_parser_refuses_a_directive_that_does_not_exist(tmp_path: Path) -> None:
    broken = tmp_path / "nginx.conf"
    broken.write_text("events {} http { proxy_passs http://api; }")
    assert [error["line"] for error in parse(broken, strict=True)["errors"]] == [1]


def test_upstreams_are_services_on_the_dmz_at_the_port_they_listen_on() -> None:
    for upstream in directives("upstream"):
        name = upstream["args"][0]
        [address] = [each["args"] for each in upstream["block"] if each["directive"] == "server"]
        host, port = address[0].split(":")
        assert host == name
        assert "resolve" in address, "a container that is started again has another address"
        assert "dmz" in services()[host]["networks"]
        command = services()[host].get("command")
        assert port == (command[command.index("--port") + 1] if command else "3000")


def test_shared_memory_zones_have_names_of_their_own() -> None:
    zones = [each["args"][0] for each in directives("zone")]
    zones += [re.search(r"zone=(\w+):", " ".join(each["args"]))[1] for each in directives("limit_req_zone")]  # type: ignore[index]
    zones += [re.search(r"zone=(\w+):", " ".join(each["args"]))[1] for each in directives("limit_conn_zone")]  # type: ignore[index]
    assert len(zones) == len(set(zones))


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("/graphql", "http://api"),
        ("/graphiql", "http://api"),
        ("/docs", "http://api"),
        ("/openapi.json", "http://api"),
        ("/v1/payments", "http://collection"),
        ("/v1/payments/bulk", "http://collection"),
        ("/v1/payments/abc/refunds", "http://collection"),
        ("/v1/merchants/m1", "http://collection"),
        ("/v1/users/u1", "http://collection"),
        ("/v1/users/google/1", "http://collection"),  # %2F, which nginx unescapes to choose and passes on as it came
        ("/v1/merchants/sl/ash/series", "http://api"),
        ("/v1/query/jobs", "http://query"),
        ("/v1/query/jobs/abc/result", "http://query"),
    ],
)
def test_a_path_reaches_its_tier(path: str, upstream: str) -> None:
    assert [each["args"][0] for each in directives("proxy_pass", location(path)["block"])] == [upstream]


def test_every_path_of_the_tiers_reaches_the_one_that_has_it() -> None:
    def route(path: str) -> str:
        [found] = [each["args"][0] for each in directives("proxy_pass", location(re.sub(r"\{\w+\}", "x-1", path))["block"])]
        return str(found)

    api, collection = set(openapi.document()["paths"]), {each.path for each in (*payment_routes.ROUTES, *profile_routes.ROUTES)}
    assert {path: route(path) for path in api} == dict.fromkeys(api, "http://api")
    assert {path: route(path) for path in collection} == dict.fromkeys(collection, "http://collection")


@pytest.mark.parametrize("path", ["/metrics", "/ready", "/health"])
def test_operators_paths_are_not_reached_from_outside(path: str) -> None:
    assert directives("return", location(path)["block"])[0]["args"] == ["404"]
    assert not directives("proxy_pass", location(path)["block"])


def test_a_body_is_bounded_at_the_door_as_in_the_tier() -> None:
    [http] = directives("http")
    [size] = [each["args"][0] for each in http["block"] if each["directive"] == "client_max_body_size"]
    assert size == "64k"
    assert CollectionSettings.load({}).max_body_bytes == 64 * 1024
    assert directives("client_max_body_size", location("/graphql")["block"])[0]["args"] == ["256k"]
    assert ApiSettings.load({}).max_body_bytes == 256 * 1024


def test_bodies_stream_through_since_the_services_end_the_slow_ones() -> None:
    """nginx has no total time for a body: it must not gather one before a service sees it."""
    public = server("8080")["block"]
    assert [each["args"] for each in directives("proxy_request_buffering", public)] == [["off"]]
    assert [each["args"] for each in public if each["directive"] == "proxy_request_buffering"] == [["off"]]
    assert directives("client_max_body_size", location("/v1/payments/bulk")["block"])[0]["args"] == ["64m"]
    assert not directives("client_max_body_size", location("/v1/payments")["block"])


@pytest.mark.parametrize("path", ["/v1/payments/bulk", "/v1/payments", "/v1/merchants/m1", "/v1/users/u1"])
def test_connections_are_counted_by_address_and_by_api_key(path: str) -> None:
    keys = {each["args"][1].split(":")[0].removeprefix("zone="): each["args"][0] for each in directives("limit_conn_zone")}
    counted = {each["args"][0] for each in directives("limit_conn", location(path)["block"])}
    assert {keys[zone] for zone in counted} == {"$binary_remote_addr", "$http_authorization"}
