"""What every command and the operators' endpoint work with: the client, the declarations and the redactor, wired in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from millrace_cdc.connect import declarations
from millrace_cdc.connect.client import PATIENCE, ConnectClient
from millrace_cdc.connect.declarations import Declared
from millrace_cdc.connect.models import Connector
from millrace_cdc.connect.plan import Change, plan
from millrace_cdc.connect.redaction import Redactor
from millrace_cdc.connect.settings import AdminSettings
from millrace_cdc.connect.snapshots.left_out import Look
from millrace_contracts.settings import NamesSettings


@dataclass(frozen=True)
class Session:
    """An open connection to the cluster beside what is declared for it."""

    client: ConnectClient
    names: NamesSettings
    declared: list[Declared]
    redactor: Redactor
    look: Look | None = None
    """Finds what snapshots leave out."""

    @property
    def prefix(self) -> str:
        """What our connectors' names begin with."""
        return declarations.prefix(self.names)

    def full(self, name: str) -> str:
        """A connector's name on the cluster: ``merchants`` is the one that merchants.json declares."""
        if name in {item.short for item in self.declared}:
            return declarations.full_name(self.names, name)
        return name

    def plan(self, cluster: Mapping[str, Connector]) -> list[Change]:
        """What differs."""
        return plan(self.declared, cluster, self.prefix, self.redactor)


@contextmanager
def opened(environ: Mapping[str, str], *, patience: float = PATIENCE) -> Iterator[Session]:
    """A session from settings; declarations are read before anything is asked of the cluster.

    Raises:
        DeclarationError: a file of connect-config/ is wrong.
        millrace_contracts.settings.SettingsError: a setting is.
    """
    settings, names, redactor = AdminSettings.load(environ), NamesSettings.load(environ), Redactor(environ)
    declared = declarations.load(settings.folder(), names, settings.enabled())
    with ConnectClient(settings.url, login=settings.login(), hide=redactor.text, patience=patience) as client:
        yield Session(client, names, declared, redactor, Look(environ))
