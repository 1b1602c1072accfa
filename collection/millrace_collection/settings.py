"""Settings of the collection tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, field_validator

from millrace_contracts.settings import Settings, refuse_default_secret

LOCAL_CUSTOMER_SECRET = "6d696c6c726163652d6c6f63616c2d637573746f6d65722d7365637265740000"  # noqa: S105
"""Published, hence for local use only."""
URL_VARIABLE = "MILLRACE_COLLECTION_SERVED_AT"
"""Address of the API, which the command tells its workers."""


class MongoSettings(Settings, group="MONGO"):
    """The source database, as the collection tier's own user."""

    collection_uri: str


class CollectionSettings(Settings, group="COLLECTION"):
    """How the collection tier behaves; sizes in bytes, times in seconds."""

    customer_secret: str = LOCAL_CUSTOMER_SECRET
    """Key of the customer keys' HMAC, hexadecimal, at least 16 bytes."""
    max_body_bytes: int = Field(65_536, ge=1024)
    max_line_bytes: int = Field(16_384, ge=512)
    bulk_batch: int = Field(1000, ge=1, le=20_000)
    """Lines of a bulk body that are written together."""
    bulk_lines: int = Field(500_000, ge=1)
    """Lines of a bulk body, blank ones included; then it ends with 413."""
    bulk_spool_bytes: int = Field(67_108_864, ge=65_536)
    """Answers of a bulk body that are kept until it is read, in memory and in TMPDIR; then it ends with 413."""
    bulk_seconds: float = Field(600, gt=0)
    """Total time of a bulk body, then it ends with 408; and, once more, of its answer."""
    bulk_per_key: int = Field(16, ge=1)
    """Bulk requests of one API key at a time, per worker; more are answered 429."""
    future_seconds: int = Field(3600, ge=0)
    """How far ahead of this machine's clock an instant may lie."""
    retry_seconds: float = Field(8, gt=0)
    """How long a write is retried while MongoDB elects or restarts; then the answer is 503."""
    key_cache_seconds: float = Field(5, ge=0)
    merchant_cache_seconds: float = Field(60, ge=0)
    user_cache_seconds: float = Field(5, ge=0)
    cache_entries: int = Field(50_000, ge=1)
    request_log: str = "log"
    """Where accepted commands are written before they are carried out: ``log``, ``off`` or the path of a file."""

    @field_validator("customer_secret")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if len(bytes.fromhex(value)) < 16:
            raise ValueError("needs at least 16 bytes in hexadecimal")
        return value

    @property
    def secret(self) -> bytes:
        """The HMAC key."""
        return bytes.fromhex(self.customer_secret)

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read the group and refuse the published secret in production.

        Raises:
            SettingsError: names the variable, its value and the fix.
        """
        settings = super().load(environ)
        refuse_default_secret(environ, cls.variable("customer_secret"), settings.customer_secret, LOCAL_CUSTOMER_SECRET)
        return settings
