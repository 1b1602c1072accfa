"""Settings of the administrator."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path

from millrace_contracts.identity import AUDIENCE, LOCAL_ISSUER
from millrace_contracts.settings import Settings, SettingsError, refuse_default_secret, refuse_plain_keys

_FOLDER = "connect-config"


class AdminSettings(Settings, group="CONNECT"):
    """Which Connect cluster, and what is declared for it."""

    url: str = "http://127.0.0.1:8083"
    """REST API of any worker of the cluster."""
    config_dir: str = ""
    """Folder of the declared connectors; default connect-config/ of the checkout, else of the installed distribution."""
    enable: str = ""
    """Comma-separated connectors to run although their file says ``absent``, for example ``payments``."""

    def folder(self) -> Path:
        """The folder of the declared connectors.

        Raises:
            SettingsError: there is none.
        """
        if self.config_dir:
            given = Path(self.config_dir).expanduser()
            if not given.is_dir():
                raise SettingsError(
                    self.variable("config_dir"), f"{self.config_dir!r} is not a folder; name one that holds NAME.json files"
                )
            return given
        checkout = Path(__file__).resolve().parents[3] / _FOLDER
        installed = Path(sysconfig.get_path("data")) / "share" / "millrace" / _FOLDER
        for folder in (checkout, installed):
            if folder.is_dir():
                return folder
        raise SettingsError(self.variable("config_dir"), f"is not set, and there is no {_FOLDER}/ beside this program; name the folder")

    def enabled(self) -> frozenset[str]:
        """``enable`` as names."""
        return frozenset(name.strip() for name in self.enable.split(",") if name.strip())


class OperatorSettings(Settings, group="API"):
    """How access tokens are verified: the same variables as the API's, so that one identity provider serves both."""

    jwks: str = ""
    """Path or URL of the JWKS; the local default is <home>/keys/jwks.json."""
    issuer: str = LOCAL_ISSUER
    audience: str = AUDIENCE
    leeway_seconds: int = 30

    @classmethod
    def checked(cls, environ: Mapping[str, str]) -> OperatorSettings:
        """Load, with the local default of the JWKS, and refuse the local issuer outside local use.

        Raises:
            SettingsError: names the variable and the fix.
        """
        settings = cls.load(environ)
        refuse_default_secret(environ, cls.variable("issuer"), settings.issuer, LOCAL_ISSUER)
        refuse_plain_keys(environ, cls.variable("jwks"), settings.jwks)
        home = Path(environ.get("MILLRACE_HOME", ".millrace"))
        return settings if settings.jwks else settings.model_copy(update={"jwks": str(home / "keys" / "jwks.json")})
