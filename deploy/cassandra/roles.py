"""Cassandra's logins: one for the processors (they make and write our tables), one for the API (it only reads them), one administrator.

The administrator makes the keyspace, and the tiers' logins have rights in it alone: system_auth and other keyspaces are closed to them.

Runs once per start of the compose file and is safe to repeat: a changed password in secrets.env is set by the administrator,
whose own password is the one that can not be changed here. The server's built-in superuser is switched off.

Environment: CASSANDRA_HOST, CASSANDRA_PORT (9042), CASSANDRA_ADMIN_PASSWORD, CASSANDRA_PROCESSORS_PASSWORD, CASSANDRA_API_PASSWORD,
MILLRACE_NAMES_KEYSPACE, MILLRACE_CASSANDRA_REPLICATION.
"""

from __future__ import annotations

import os
import sys
import time

from cassandra import AuthenticationFailed, OperationTimedOut, Unavailable
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import RoundRobinPolicy

from millrace_contracts.reports import statements
from millrace_contracts.settings import CassandraSettings, NamesSettings

ADMIN = "millrace_admin"
BUILT_IN = "cassandra"
PATIENCE_SECONDS = 120


def login(user: str, password: str) -> Session:
    """A session as ``user``.

    Raises:
        PermissionError: the server is there and refuses the login.
        ConnectionError: the server is not there.
    """
    cluster = Cluster(
        [os.environ["CASSANDRA_HOST"]],
        port=int(os.environ.get("CASSANDRA_PORT", "9042")),
        auth_provider=PlainTextAuthProvider(user, password),
        execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(load_balancing_policy=RoundRobinPolicy())},
        protocol_version=5,
    )
    try:
        return cluster.connect()
    except NoHostAvailable as error:
        cluster.shutdown()
        if any(isinstance(cause, AuthenticationFailed) for cause in error.errors.values()):
            raise PermissionError(f"{user}: {error}") from None
        raise ConnectionError(str(error)) from None


def administrator() -> Session:
    """A session as our administrator, made with the built-in superuser where it is not there yet."""
    password = os.environ["CASSANDRA_ADMIN_PASSWORD"]
    try:
        return login(ADMIN, password)
    except PermissionError:
        first = login(BUILT_IN, BUILT_IN)
        first.execute(f"CREATE ROLE IF NOT EXISTS {ADMIN} WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = %s", [password])
        first.cluster.shutdown()
        return login(ADMIN, password)


def declare(session: Session) -> None:
    """The two tiers' logins and what each may do, and no login for the built-in superuser."""
    session.execute(f"ALTER ROLE {BUILT_IN} WITH SUPERUSER = false AND LOGIN = false")
    keyspace = NamesSettings.load(os.environ).keyspace
    session.execute(statements(keyspace, CassandraSettings.load(os.environ).replication)[0])
    for name, permissions in (("processors", ("CREATE", "ALTER", "SELECT", "MODIFY")), ("api", ("SELECT",))):
        role = f"millrace_{name}"
        session.execute(f"CREATE ROLE IF NOT EXISTS {role} WITH LOGIN = true")
        session.execute(f"ALTER ROLE {role} WITH PASSWORD = %s", [os.environ[f"CASSANDRA_{name.upper()}_PASSWORD"]])
        session.execute(f"REVOKE ALL PERMISSIONS ON ALL KEYSPACES FROM {role}")  # what releases up to 0.1.0 granted
        for permission in permissions:
            session.execute(f"GRANT {permission} ON KEYSPACE {keyspace} TO {role}")


def main() -> int:
    """Declare, with patience while the server starts: it makes its built-in superuser some seconds after it first answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            session = administrator()
            declare(session)
            session.cluster.shutdown()
            print("cassandra: the logins are as declared")
            return 0
        # NoHostAvailable: also that a password can only be changed every five seconds.
        except (PermissionError, ConnectionError, OperationTimedOut, Unavailable, NoHostAvailable) as error:
            if time.monotonic() > deadline:
                print(f"cassandra: {error}", file=sys.stderr)
                return 3
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
