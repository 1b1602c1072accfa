"""What Spark needs to know of a cluster that it gets its executors from: YARN or Kubernetes, with the driver in this process."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from millrace_contracts.settings import SettingsError
from millrace_processors.settings import Config, LakeSettings, ProcessorsSettings, SparkSettings

ENVIRONMENT = "environment"
"""The name under which an executor finds the packed environment in its working directory."""
MEMORY = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""For JVM and workers. Arenas of every thread and Arrow's own pool keep what was freed."""
DRIVER = MEMORY | {"MALLOC_MMAP_THRESHOLD_": "262144"}
"""For the driver's JVM, whose malloc would keep blocks of up to 32 MiB for itself, in ever more pieces: those above go back when freed."""
WORKERS = MEMORY | {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""What malloc comes to by itself with Arrow batches of 10 MiB: with the driver's a worker spends half as much CPU time again."""
_HADOOP = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")


def python(spark: SparkSettings) -> str:
    """The interpreter that the workers run: it has our packages, and is of the driver's version."""
    if spark.python:
        return spark.python
    return f"./{ENVIRONMENT}/bin/python" if spark.archive and not spark.master.startswith("local") else sys.executable


def properties(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """Spark's properties of the cluster that the master names.

    Raises:
        SettingsError: something is missing without which no executor could work.
    """
    spark = config.spark
    found = {f"spark.executorEnv.{name}": value for name, value in WORKERS.items()}
    if spark.master.startswith("local"):
        return found | {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    found |= _driver(spark)
    if spark.archive:
        found["spark.archives"] = f"{spark.archive}#{ENVIRONMENT}"
    if spark.master == "yarn":
        if not any(environ.get(name) for name in _HADOOP):
            raise SettingsError(_HADOOP[0], "is not set; the folder of yarn-site.xml and core-site.xml tells where YARN is")
        found |= _executors(spark)
    elif spark.master.startswith("k8s://"):
        if not spark.image:
            raise SettingsError(SparkSettings.variable("image"), "is not set; name the image that executors run, see docs/operations.md")
        found |= _executors(spark) | {
            "spark.kubernetes.container.image": spark.image,
            "spark.kubernetes.namespace": spark.namespace,
        }
    else:
        return found
    _reachable(LakeSettings.variable("warehouse"), config.lake.warehouse)
    _reachable(ProcessorsSettings.variable("checkpoints"), config.processors.checkpoints)
    return found


def _executors(spark: SparkSettings) -> dict[str, str]:
    return {
        "spark.submit.deployMode": "client",
        "spark.executor.instances": str(spark.executors),
        "spark.executor.cores": str(spark.executor_cores),
        # Beside the heap: the Python workers, one a core, and what Arrow and the network hold.
        "spark.executor.memoryOverhead": f"{512 + 512 * spark.executor_cores}m",
    }


def _driver(spark: SparkSettings) -> dict[str, str]:
    """Where executors find the driver; its two ports are fixed where a firewall or a service has to let them through."""
    found = {"spark.driver.host": spark.driver_host} if spark.driver_host else {}
    if spark.driver_bind:
        found["spark.driver.bindAddress"] = spark.driver_bind
    if spark.driver_port:
        found |= {"spark.driver.port": str(spark.driver_port), "spark.driver.blockManager.port": str(spark.driver_port + 1)}
    return found


def _reachable(variable: str, place: str) -> None:
    if "://" not in place or place.startswith("file:"):
        problem = f"{place!r} is on this machine; every executor needs it: name a URL such as hdfs://name/path or s3a://bucket/path"
        raise SettingsError(variable, problem)
