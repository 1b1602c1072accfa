"""Keep secrets out of every text that a person or a log sees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

HIDDEN: Final = "***"

_URI_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s/@\"']+@")
_URI_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s/@]+@")
_REFERENCE = re.compile(r"\$\{[^}]+\}")
_SENSITIVE_KEY = re.compile(r"password|passwd|secret|credential|token|jaas\.config|private.?key", re.IGNORECASE)
_URI_KEY = re.compile(r"connection\.?string", re.IGNORECASE)
_SENSITIVE_VARIABLE = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY$")
_SHORTEST = 6


def sensitive(key: str) -> bool:
    """Whether a configuration key of this name may hold a secret."""
    return bool(_SENSITIVE_KEY.search(key) or _URI_KEY.search(key))


def is_reference(value: str) -> bool:
    """Whether a value is a config provider's reference such as ``${env:VARIABLE}``, which is no secret."""
    return bool(_REFERENCE.fullmatch(value))


def holds_secret(key: str, value: str) -> bool:
    """Whether a declared value is a secret in clear text: a password inside a URI, or anything but references under a sensitive key."""
    left = _REFERENCE.sub("", value)
    return bool(_URI_PASSWORD.search(left)) or (bool(_SENSITIVE_KEY.search(key)) and bool(left))


class Redactor:
    """Hides logins in URIs and every secret value that the environment holds."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        found: set[str] = set()
        for name, value in environ.items():
            if _SENSITIVE_VARIABLE.search(name):
                found.add(value)
            login = re.match(r"[a-z][a-z0-9+.-]*://[^:/@]*:([^@/]+)@", value)
            if login:
                found.add(login[1])
        # The longest first, so that no secret is left half visible behind a shorter one.
        self._secrets = sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text without its secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return _URI_LOGIN.sub(rf"\g<scheme>{HIDDEN}@", text)

    def value(self, key: str, value: str) -> str:
        """A configuration value as it may be shown; a reference is shown as it is."""
        if sensitive(key) and not is_reference(value):
            return HIDDEN
        return self.text(value)

    def config(self, config: Mapping[str, str]) -> dict[str, str]:
        """A whole configuration as it may be shown."""
        return {key: self.value(key, value) for key, value in config.items()}
