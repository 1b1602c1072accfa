"""What connect-config/ declares: one file a connector, ``<name>.json``::

    {"about": "...", "state": "running" | "paused" | "stopped" | "absent", "config": {"connector.class": "...", ...}}

``${names:<field>}`` in a value is filled in here from MILLRACE_NAMES_*; any other ``${provider:...}`` is left for the worker's config
providers, so that a secret travels by reference. A list or object (a pipeline) is sent as its JSON text. A collection under
``snapshot.collection.filter.overrides`` gets the filter of ``snapshots.filters``.
On the cluster a connector is named ``<topic prefix>.<database>.<file name>``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from millrace_cdc.connect.errors import DeclarationError
from millrace_cdc.connect.redaction import holds_secret
from millrace_cdc.connect.snapshots.filters import with_filters
from millrace_contracts.settings import NamesSettings
from millrace_contracts.values.json_text import loads

State = Literal["running", "paused", "stopped", "absent"]

_NAME = re.compile(r"\$\{names:(\w+)\}")
_FIELDS = {"about", "state", "config"}


@dataclass(frozen=True)
class Declared:
    """A connector as its file declares it, names filled in."""

    short: str
    name: str
    state: State
    config: dict[str, str]
    about: str = ""


def prefix(names: NamesSettings) -> str:
    """What the names of our connectors begin with on the cluster."""
    return f"{names.topic_prefix}.{names.database}."


def full_name(names: NamesSettings, short: str) -> str:
    """A connector's name on the cluster; a name that has the prefix already is left as it is."""
    return short if short.startswith(prefix(names)) else prefix(names) + short


def load(folder: Path, names: NamesSettings, enable: Collection[str] = ()) -> list[Declared]:
    """Every declared connector in order of its file's name; ``enable`` names those to run although their file says absent.

    Raises:
        DeclarationError: a file is not as described above, or holds a secret in clear text.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise DeclarationError(f"{folder}: holds no NAME.json file; is it the right folder?")
    unknown = set(enable) - {path.stem for path in paths}
    if unknown:
        raise DeclarationError(f"{folder}: declares no connector {', '.join(sorted(unknown))}, which is to be enabled")
    return [_read(path, names, path.stem in enable) for path in paths]


def _read(path: Path, names: NamesSettings, enable: bool) -> Declared:
    try:
        document = loads(path.read_bytes(), "it")
    except (OSError, ValueError) as error:
        raise DeclarationError(f"{path.name}: can not be read as JSON ({error})") from None
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        raise DeclarationError(f"{path.name}: needs an object under `config`")
    extra = document.keys() - _FIELDS
    if extra:
        raise DeclarationError(f"{path.name}: does not know {', '.join(sorted(extra))}; its fields are about, state and config")
    state = document.get("state", "running")
    if state not in get_args(State):
        raise DeclarationError(f"{path.name}: state {state!r} is not one of {', '.join(get_args(State))}")
    config = {key: _fill(path, key, value, names) for key, value in document["config"].items()}
    if "connector.class" not in config:
        raise DeclarationError(f"{path.name}: config needs a `connector.class`")
    if "name" in config:
        raise DeclarationError(f"{path.name}: config must not hold `name`; the file's name gives it")
    config = with_filters(config, path.name)
    wanted = "running" if enable and state == "absent" else state
    return Declared(path.stem, full_name(names, path.stem), cast("State", wanted), config, str(document.get("about", "")))


def _fill(path: Path, key: str, value: object, names: NamesSettings) -> str:
    if isinstance(value, list | dict):
        value = json.dumps(value, separators=(",", ":"))
    if not isinstance(value, str):
        raise DeclarationError(f"{path.name}: {key} is not a text; write numbers and true or false in quotes, as Connect stores them")
    if holds_secret(key, value):
        raise DeclarationError(f"{path.name}: {key} holds a secret in clear text; name it by reference, for example ${{env:VARIABLE}}")

    def fill(found: re.Match[str]) -> str:
        if found[1] not in NamesSettings.model_fields:
            raise DeclarationError(f"{path.name}: {key}: {found[0]} is not one of {', '.join(NamesSettings.model_fields)}")
        return str(getattr(names, found[1]))

    return _NAME.sub(fill, value)
