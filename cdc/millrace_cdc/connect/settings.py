"""Settings of the administrator."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from millrace_contracts.settings import ConnectSettings, SettingsError

_FOLDER = "connect-config"


class AdminSettings(ConnectSettings, group="CONNECT"):
    """Which Connect cluster, and what is declared for it."""

    config_dir: str = ""
    """Folder of the declared connectors; default connect-config/ of the checkout, else of the installed distribution."""

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
