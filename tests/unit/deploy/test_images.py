"""The Dockerfiles: what they copy exists, what they install is locked, and who they run as."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.unit.deploy.files import ROOT, builds, services

INSTRUCTION = re.compile(r"^(FROM|COPY|RUN|ARG|USER|ENTRYPOINT|ENV|LABEL|WORKDIR|VOLUME|EXPOSE)\s+(.*)$", re.M)
BUILDS = builds()
OURS = sorted(BUILDS)


def instructions(service: str) -> list[tuple[str, str]]:
    path, arguments = BUILDS[service]
    text = path.read_text().replace("\\\n", " ")
    defaults = dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.M))
    for name, value in {**defaults, **arguments}.items():
        text = text.replace(f"${{{name}}}", value)
    return [(found[1], found[2]) for found in INSTRUCTION.finditer(text)]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the context out: everything, less the names after "!"."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    return path.split("/")[0] not in kept or path.startswith("deploy/env")


@pytest.mark.parametrize("service", OURS)
def test_everything_copied_from_the_context_exists_and_is_let_in(service: str) -> None:
    for name, value in instructions(service):
        if name == "COPY" and not value.startswith("--from"):
            *sources, _ = value.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert source == "." or not ignored(source), f"{source} is kept out by .dockerignore"


@pytest.mark.parametrize("service", OURS)
def test_every_stage_that_is_copied_from_is_built(service: str) -> None:
    found = instructions(service)
    stages = {value.split(" AS ")[1].strip() for name, value in found if name == "FROM" and " AS " in value}
    used = {re.match(r"--from=(\S+)", value)[1] for name, value in found if name == "COPY" and value.startswith("--from")}  # type: ignore[index]
    assert used <= stages
    assert len([name for name, _ in found if name == "FROM"]) > 1, "build tools stay out of the image: several stages"


@pytest.mark.parametrize("service", OURS)
def test_base_images_are_pinned_to_a_patch_version(service: str) -> None:
    for name, value in instructions(service):
        if name == "FROM":
            tag = value.split(" AS ")[0].partition(":")[2]
            assert re.search(r"\d+\.\d+\.\d+", tag), value


@pytest.mark.parametrize("service", OURS)
def test_an_image_does_not_run_as_root(service: str) -> None:
    users = [value for name, value in instructions(service) if name == "USER"]
    assert users
    assert users[-1] not in {"root", "0", "0:0"}


@pytest.mark.parametrize("service", OURS)
def test_python_packages_come_from_a_lock_file_with_hashes(service: str) -> None:
    for name, value in instructions(service):
        for command in re.findall(r"pip install[^&]*", value) if name == "RUN" else []:
            assert "--require-hashes" in command or ("--no-deps" in command and "/wheels/" in command), command


def test_the_api_image_carries_no_spark() -> None:
    path, arguments = BUILDS["api"]
    assert arguments == {"TIER": "graphql"}
    lock = (ROOT / "requirements" / "graphql.txt").read_text()
    assert not re.search(r"^(pyspark|py4j|confluent-kafka|pymongo)==", lock, re.M)
    assert "graphene==" in lock
    assert path.name == "Dockerfile"


@pytest.mark.parametrize(("service", "pom", "artefact"), [("kafka", "kafka", "kafka_2.13"), ("cassandra", "cassandra", "cassandra-all")])
def test_a_server_has_the_version_that_the_tests_run_against(service: str, pom: str, artefact: str) -> None:
    assert services()[service]["image"].partition(":")[2] == pom_version(pom, artefact)


def test_connect_runs_on_the_brokers_version() -> None:
    base = [value for name, value in instructions("connect") if name == "FROM"][-1]
    assert base == services()["kafka"]["image"]
    assert base.partition(":")[2] == pom_version("connect", "connect-runtime")


def pom_version(pom: str, artefact: str) -> str:
    path: Path = ROOT / "stack" / "millrace_stack" / "artefacts" / f"{pom}.xml"
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    for dependency in ET.parse(path).getroot().iterfind(".//m:dependency", space):
        if dependency.findtext("m:artifactId", namespaces=space) == artefact:
            return dependency.findtext("m:version", default="", namespaces=space)
    raise AssertionError(f"{path} names no {artefact}")
