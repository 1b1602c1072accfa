"""docker-compose.yml against the Compose Specification, and against what the architecture promises of the networks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for

from millrace.main import cli
from millrace_graphql.settings import ApiSettings
from tests.unit.deploy.files import APPLICATION, DATA_SERVERS, DEPLOY, ONE_SHOTS, ROOT, VARIABLE, WATCHING, compose, example, services

SERVICES = sorted(services())


def schema_errors(document: dict[str, Any]) -> list[str]:
    # check-jsonschema carries the specification's published schema (compose-spec/compose-spec, Apache-2.0).
    schema = get_builtin_schema("vendor.compose-spec")
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator_for(schema)(schema).iter_errors(document)]


def test_the_file_follows_the_compose_specification() -> None:
    assert schema_errors(compose()) == []


def test_the_specification_refuses_a_misspelt_key() -> None:
    broken = {**compose(), "services": {"api": {"image": "x:1", "helthcheck": {}}}}
    assert schema_errors(broken) != []


def test_every_tier_of_the_architecture_has_a_service() -> None:
    assert set(SERVICES) == {"nginx"} | DATA_SERVERS | APPLICATION | ONE_SHOTS | WATCHING


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_or_runs_once(name: str) -> None:
    service = services()[name]
    if name in ONE_SHOTS:
        assert service["restart"].startswith("on-failure")
        assert "healthcheck" not in service
    else:
        assert service["healthcheck"]["test"]
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_to_a_version(name: str) -> None:
    image, _, tag = services()[name]["image"].partition(":")
    assert image
    assert tag != "latest"
    assert re.search(r"\d+\.\d+\.\d+", tag), f"{name}: {image}:{tag} does not name a patch version"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_and_hardened(name: str) -> None:
    service = services()[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= limits.keys()
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert "stop_grace_period" in service


def test_only_nginx_publishes_ports_and_only_to_this_machine_unless_told() -> None:
    published = {name: service["ports"] for name, service in services().items() if service.get("ports")}
    assert published.keys() == {"nginx"}
    for port in published["nginx"]:
        assert port.startswith(("${MILLRACE_BIND:-127.0.0.1}:", "127.0.0.1:"))


def test_no_service_leaves_its_networks() -> None:
    for name, service in services().items():
        assert service["networks"], name
        assert "network_mode" not in service, name


def test_the_data_network_is_reached_from_the_dmz_through_the_web_tiers_only() -> None:
    networks = {name: set(service["networks"]) for name, service in services().items()}
    assert networks["nginx"] == {"dmz"}
    assert {name for name, joined in networks.items() if {"dmz", "data"} <= joined} == {"api", "collection", "query"}
    for name in DATA_SERVERS:
        assert networks[name] == {"data"}, name
    for name in WATCHING:
        assert "data" not in networks[name], name
    assert compose()["networks"]["data"] == {"internal": True}
    assert compose()["networks"]["application"] == {"internal": True}


def test_collection_is_given_no_way_to_the_queue() -> None:
    # I1: that tier never calls the queue.
    assert not [name for name in services()["collection"]["environment"] if "KAFKA" in name]


def test_ad_hoc_queries_are_given_the_lake_to_read_and_no_way_to_anything_that_is_written() -> None:
    query = services()["query"]
    assert "lake:/data:ro" in query["volumes"]
    assert not [name for name in query["environment"] if re.search(r"KAFKA|MONGO|REDIS", name)]
    assert query["environment"]["MILLRACE_CASSANDRA_USERNAME"] == "millrace_api", "the login that only reads"


@pytest.mark.parametrize("name", ["api", "query"])
def test_the_settings_of_who_may_ask_pass_in_production(name: str) -> None:
    # Every variable that has no default stands for a value of the operator's.
    environ = {key: VARIABLE.sub("https://id.example.org", str(value)) for key, value in services()[name]["environment"].items()}
    settings = ApiSettings.checked(environ)
    assert (settings.jwks, settings.issuer) == ("https://id.example.org", "https://id.example.org")


def test_a_service_waits_for_what_it_needs_by_condition() -> None:
    for name, service in services().items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_SHOTS else "service_healthy"
            assert how["condition"] == expected, f"{name} -> {needed}"


def test_every_variable_without_a_default_is_in_the_secrets_example_and_is_empty_there() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    secrets, settings = example("secrets.env.example"), example("settings.env.example")
    required = {found["name"] for found in VARIABLE.finditer(text) if found["rule"] == ":?"}
    optional = {found["name"]: found["text"] for found in VARIABLE.finditer(text) if found["rule"] == ":-"}
    assert {found["rule"] for found in VARIABLE.finditer(text)} == {":?", ":-"}
    assert required == secrets.keys()
    assert set(secrets.values()) == {""}, "an example never holds a secret"
    assert optional == settings


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_stands_in_the_file(name: str) -> None:
    for variable, value in services()[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|_URI$|REPLICA_KEY|REDIS_URL", variable):
            assert re.search(r"\$\{\w+:\?", str(value)), f"{name}.{variable}"


@pytest.mark.parametrize("name", sorted(APPLICATION | {"mongo-init", "topics", "connectors", "tables"}))
def test_a_service_of_ours_runs_in_production_mode_and_its_command_exists(name: str) -> None:
    service = services()[name]
    assert service["environment"]["MILLRACE_RUNTIME_ENVIRONMENT"] == "production"
    command, options = resolve(service["command"])
    for option in options:
        assert option in {text for parameter in command.params for text in parameter.opts}, option


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    command: click.Command = cli
    context = click.Context(cli)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"no command {rest[0]} in {' '.join(words)}"
        command, rest = found, rest[1:]
    return command, [word for word in rest if word.startswith("--")]


def test_every_mounted_file_is_there() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name}: {source} is mounted writable"
            else:
                assert source in compose()["volumes"], f"{name}: {source}"


def test_scripts_in_deploy_can_be_run() -> None:
    scripts: list[Path] = [DEPLOY / "make-secrets", *(path for path in DEPLOY.rglob("*") if path.name in {"start", "ready", "probe"})]
    assert len(scripts) == 7
    for script in scripts:
        assert script.stat().st_mode & 0o111, script
