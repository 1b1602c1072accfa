"""What Spark is told for each kind of master. No cluster runs here: it is the configuration that is looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from millrace_contracts.settings import SettingsError
from millrace_processors import cluster, session
from millrace_processors.settings import Config

HADOOP = {"HADOOP_CONF_DIR": "/etc/hadoop"}
URLS = {"MILLRACE_LAKE_WAREHOUSE": "hdfs://names/lake", "MILLRACE_PROCESSORS_CHECKPOINTS": "hdfs://names/checkpoints"}
K8S = "k8s://https://cluster:6443"


@pytest.fixture
def jars(tmp_path: Path) -> str:
    for name in ("iceberg.jar", "kafka.jar"):
        (tmp_path / name).touch()
    return str(tmp_path)


def config(jars: str, master: str, **given: str) -> Config:
    named = {f"MILLRACE_SPARK_{name.upper()}": value for name, value in given.items()}
    return Config.load({"MILLRACE_SPARK_JARS": jars, "MILLRACE_SPARK_MASTER": master, **URLS, **named})


def test_yarn_is_asked_for_executors_and_given_all_that_they_need(jars: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HADOOP.items():
        monkeypatch.setenv(name, value)
    made = session.properties(
        config(
            jars, "yarn", executors="8", executor_cores="4", executor_memory="6g", archive="hdfs://names/python.tar.gz",
            driver_host="gateway", driver_port="7100", extra="spark.yarn.queue=analysis",
        )
    )  # fmt: skip
    expected = {
        "spark.submit.deployMode": "client",
        "spark.executor.instances": "8",
        "spark.executor.cores": "4",
        "spark.executor.memory": "6g",
        "spark.executor.memoryOverhead": "2560m",
        "spark.archives": "hdfs://names/python.tar.gz#environment",
        "spark.driver.host": "gateway",
        "spark.driver.port": "7100",
        "spark.driver.blockManager.port": "7101",
        "spark.jars": f"{jars}/iceberg.jar,{jars}/kafka.jar",
        "spark.sql.catalog.lake.warehouse": "hdfs://names/lake",
        "spark.yarn.queue": "analysis",
    }
    assert {name: made.get(name) for name in expected} == expected
    assert "spark.driver.bindAddress" not in made
    assert not any(name.startswith("spark.kubernetes.") for name in made)


def test_kubernetes_is_told_the_image_and_where_the_driver_listens(jars: str) -> None:
    image = "registry.example/millrace/executor:1"
    made = session.properties(
        config(jars, K8S, image=image, namespace="analysis", driver_host="driver.analysis.svc", driver_bind="0.0.0.0", driver_port="7100")
    )
    expected = {
        "spark.kubernetes.container.image": image,
        "spark.kubernetes.namespace": "analysis",
        "spark.executor.instances": "2",
        "spark.executor.cores": "1",
        "spark.executor.memoryOverhead": "1024m",
        "spark.driver.host": "driver.analysis.svc",
        "spark.driver.bindAddress": "0.0.0.0",
        "spark.driver.port": "7100",
        "spark.driver.blockManager.port": "7101",
    }
    assert {name: made.get(name) for name in expected} == expected
    assert "spark.archives" not in made


def test_a_standalone_cluster_gets_the_archive_and_all_of_its_cores(jars: str) -> None:
    made = session.properties(config(jars, "spark://master:7077", archive="/shared/python.tar.gz"))
    assert made["spark.archives"] == "/shared/python.tar.gz#environment"
    assert not {"spark.executor.instances", "spark.executor.cores", "spark.driver.host"} & set(made)


def test_a_local_driver_is_reached_by_nobody_else(jars: str) -> None:
    made = session.properties(config(jars, "local[2]", archive="/shared/python.tar.gz", driver_host="elsewhere"))
    assert (made["spark.driver.host"], made["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")
    assert "spark.archives" not in made
    assert made["spark.executorEnv.MALLOC_ARENA_MAX"] == "2"


@pytest.mark.parametrize(
    ("master", "given", "expected"),
    [
        ("local[2]", {"archive": "hdfs://names/python.tar.gz"}, sys.executable),
        ("yarn", {}, sys.executable),
        ("yarn", {"archive": "hdfs://names/python.tar.gz"}, "./environment/bin/python"),
        (K8S, {"python": "/opt/venv/bin/python"}, "/opt/venv/bin/python"),
    ],
)
def test_workers_run_the_interpreter_that_has_our_packages(jars: str, master: str, given: dict[str, str], expected: str) -> None:
    assert cluster.python(config(jars, master, **given).spark) == expected


@pytest.mark.parametrize(
    ("master", "given", "environ", "told"),
    [
        ("yarn", {}, {}, "HADOOP_CONF_DIR: is not set"),
        (K8S, {}, {}, "MILLRACE_SPARK_IMAGE: is not set"),
    ],
)
def test_what_is_missing_is_named(jars: str, master: str, given: dict[str, str], environ: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        cluster.properties(config(jars, master, **given), environ)
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize("place", ["/srv/lake", "file:///srv/lake"])
@pytest.mark.parametrize("variable", list(URLS))
def test_a_folder_of_this_machine_is_refused_where_executors_are_elsewhere(jars: str, variable: str, place: str) -> None:
    environ = {"MILLRACE_SPARK_JARS": jars, "MILLRACE_SPARK_MASTER": "yarn", **URLS, variable: place}
    with pytest.raises(SettingsError) as raised:
        cluster.properties(Config.load(environ), HADOOP)
    assert str(raised.value).startswith(f"{variable}: '{place}' is on this machine")


def test_a_master_of_another_kind_is_refused_by_name(jars: str) -> None:
    with pytest.raises(SettingsError, match=r"MILLRACE_SPARK_MASTER: 'yarn-cluster' does not fit"):
        config(jars, "yarn-cluster")
