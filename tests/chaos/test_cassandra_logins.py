"""Each login of Cassandra may do what it is declared for, and nothing else: on a node that asks for logins, as it is deployed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra import Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import RoundRobinPolicy

from millrace_contracts.reports import REPORTS_TABLE
from millrace_processors.settings import Config
from millrace_processors.tables import declare_store
from millrace_stack import ports
from millrace_stack.artefacts.resolve import resolve
from millrace_stack.home import Home
from millrace_stack.java import find_java
from millrace_stack.processes import Processes
from millrace_stack.servers.base import Context
from millrace_stack.servers.cassandra import Cassandra
from millrace_stack.settings import StackSettings

pytestmark = pytest.mark.stack
ROLES = Path(__file__).parents[2] / "deploy" / "cassandra" / "roles.py"
KEYSPACE = "shop"
REFUSED = {
    "api": (
        f"INSERT INTO {KEYSPACE}.{REPORTS_TABLE} (merchant_id, grain, bucket, window_start, currency) VALUES ('m', '1h', 'b', 0, 'USD')",
        f"DELETE FROM {KEYSPACE}.{REPORTS_TABLE} WHERE merchant_id = 'm' AND grain = '1h' AND bucket = 'b'",
        f"TRUNCATE {KEYSPACE}.{REPORTS_TABLE}",
        f"ALTER TABLE {KEYSPACE}.{REPORTS_TABLE} ADD x int",
        f"CREATE TABLE {KEYSPACE}.x (x int PRIMARY KEY)",
        f"DROP TABLE {KEYSPACE}.{REPORTS_TABLE}",
    ),
    "processors": (  # who makes a table may drop it, which Cassandra does not let one take away
        "DROP ROLE millrace_api",
        f"DROP KEYSPACE {KEYSPACE}",
        f"GRANT SELECT ON KEYSPACE {KEYSPACE} TO millrace_api",
        "INSERT INTO system_auth.roles (role, is_superuser, can_login) VALUES ('x', true, true)",
    ),
}
OF_ALL = (
    "SELECT * FROM system_auth.roles",
    "SELECT salted_hash FROM system_auth.roles WHERE role = 'millrace_admin'",
    "SELECT * FROM system_auth.role_permissions",
    "SELECT * FROM system_distributed.repair_history",
    "CREATE KEYSPACE x WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    "CREATE ROLE x WITH LOGIN = true AND SUPERUSER = true",
    "ALTER ROLE millrace_admin WITH PASSWORD = 'x'",
)


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A node with the authenticator and authorizer of deploy/cassandra/cassandra.yaml, on which roles.py has run twice."""
    home = Home(tmp_path_factory.mktemp("cassandra"))
    settings = StackSettings.load({"MILLRACE_STACK_CASSANDRA_HEAP_MB": "512", **os.environ})
    artefacts = resolve(Cassandra.sets, settings.cache_path(), lambda line: None)
    own = ports.assign(home, Cassandra.ports, {})
    spec = Cassandra().spec(Context(home, settings, own, {}, artefacts, str(find_java(os.environ))))
    yaml = home.folder("data", "cassandra", "conf") / "cassandra.yaml"
    deployed = (ROLES.parent / "cassandra.yaml").read_text().splitlines()
    asked = [line for line in deployed if line.startswith(("authenticator:", "authorizer:"))]
    assert len(asked) == 2
    yaml.write_text("\n".join([yaml.read_text(), *asked, ""]))
    processes = Processes(home)
    passwords = {f"CASSANDRA_{name}_PASSWORD": f"{name} secret" for name in ("ADMIN", "PROCESSORS", "API")}
    given = {"CASSANDRA_HOST": "127.0.0.1", "CASSANDRA_PORT": str(own["cassandra"]), "MILLRACE_NAMES_KEYSPACE": KEYSPACE, **passwords}
    try:
        processes.start(dataclasses.replace(spec, ready_within=180))
        for _ in range(2):
            subprocess.run([sys.executable, ROLES], env={**os.environ, **given}, check=True, timeout=300)
        yield given
    finally:
        processes.stop("cassandra", within=0.0)


def login(environ: dict[str, str], name: str, password: str | None = None) -> Session:
    known = password or environ[f"CASSANDRA_{name.upper()}_PASSWORD"]
    profiles = {EXEC_PROFILE_DEFAULT: ExecutionProfile(RoundRobinPolicy())}
    who = PlainTextAuthProvider(f"millrace_{name}", known)
    return Cluster(
        [environ["CASSANDRA_HOST"]], port=int(environ["CASSANDRA_PORT"]), auth_provider=who, protocol_version=5, execution_profiles=profiles
    ).connect()


def is_refused(session: Session, statement: str) -> bool:
    try:
        session.execute(statement)
    except Unauthorized:
        return True
    return False


def test_each_login_does_its_work_and_ten_other_things_are_refused(environ: dict[str, str]) -> None:
    clients = {"MILLRACE_CASSANDRA_HOSTS": environ["CASSANDRA_HOST"], "MILLRACE_CASSANDRA_PORT": environ["CASSANDRA_PORT"]}
    who = {"MILLRACE_CASSANDRA_USERNAME": "millrace_processors", "MILLRACE_CASSANDRA_PASSWORD": environ["CASSANDRA_PROCESSORS_PASSWORD"]}
    jars = {"MILLRACE_SPARK_JARS": str(ROLES.parent)}  # Spark is not started
    made = declare_store(Config.load({**clients, **who, **jars, "MILLRACE_NAMES_KEYSPACE": KEYSPACE}))
    assert f"{KEYSPACE}.{REPORTS_TABLE}" in made
    for name, refused in REFUSED.items():
        session = login(environ, name)
        session.execute(f"SELECT * FROM {KEYSPACE}.{REPORTS_TABLE}")
        assert len(refused + OF_ALL) >= 10
        taken = [statement for statement in refused + OF_ALL if not is_refused(session, statement)]
        assert taken == [], name
        session.cluster.shutdown()


@pytest.mark.parametrize(("name", "password"), [("api", "wrong"), ("nobody", "x")])
def test_nobody_else_is_let_in(environ: dict[str, str], name: str, password: str) -> None:
    with pytest.raises(NoHostAvailable):
        login(environ, name, password)
