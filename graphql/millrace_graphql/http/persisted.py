"""Documents by their hash: automatic persisted queries, and trusted documents that a deployment declares.

A persisted query is sent once as text with its SHA-256 and afterwards as the hash alone, which also makes it a short GET. The
texts live in this process and, for the other workers, in Redis for a day: up to 16 KiB each, and a bounded share of each payer. With
trusted documents only the texts of a manifest run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import structlog
from redis.exceptions import RedisError

from millrace_contracts.settings import SettingsError
from millrace_contracts.values.json_text import loads
from millrace_graphql.bounded import Bounded, text_bytes
from millrace_graphql.errors import ApiError
from millrace_graphql.http.request import BadRequestError, GraphQLRequest
from millrace_graphql.observability import REDIS_FAILURES
from millrace_graphql.ranges.redis_wire import Wire

log = structlog.get_logger()
KNOWN_BYTES = 4_194_304
"""Of the texts that this process keeps."""
TTL_SECONDS = 86_400
LONGEST_BYTES = 16_384
"""Of a text that is persisted."""
SHARE_BYTES = 262_144
"""Of the texts that one payer brings to Redis in ``TTL_SECONDS``, each with its key."""
KEY_BYTES = 200
_SHARE = b"""
local used = tonumber(redis.call('GET', KEYS[1]) or 0) + ARGV[1]
if used > tonumber(ARGV[2]) then
  return 0
end
redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3], 'NX')
return 1
"""


class PersistedQueryNotFoundError(ApiError):
    """The hash is not known: the client sends the text with it once. The message is the one that Apollo's clients look for."""

    code = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")


class UntrustedDocumentError(ApiError):
    """Only the manifest's documents run here."""

    code = "UNTRUSTED_DOCUMENT"

    def __init__(self) -> None:
        super().__init__("this API runs the documents of its manifest only; send the hash of one of them")


def load_manifest(path: str, variable: str) -> dict[str, str]:
    """Trusted documents by hash: a JSON object of hash -> text, or Apollo's {"operations": [{"id", "body"}]}.

    Raises:
        SettingsError: the file cannot be read or a hash is not its text's.
    """
    try:
        loaded = loads(Path(path).read_bytes(), "it")
        found = {entry["id"]: entry["body"] for entry in loaded["operations"]} if "operations" in loaded else loaded
        wrong = next((key for key, text in found.items() if key.removeprefix("sha256:") != digest(text)), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(variable, f"{path}: {type(error).__name__}: {error}; give a JSON object of SHA-256 -> document") from None
    if wrong is not None:
        raise SettingsError(variable, f"{path}: {wrong[:80]!r} is not the SHA-256 of its document; make the manifest again")
    return {key.removeprefix("sha256:"): text for key, text in found.items()}


def digest(text: str) -> str:
    """SHA-256 of a document's text in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class PersistedQueries:
    """Finds a request's text. ``trusted`` is a manifest; without one every text may be persisted."""

    def __init__(self, wire: Wire | None, prefix: str, trusted: dict[str, str] | None = None) -> None:
        self._wire = wire
        self._prefix = prefix
        self._trusted = trusted
        self._known: Bounded[str, str] = Bounded(KNOWN_BYTES)

    async def text(self, request: GraphQLRequest) -> str:
        """The document's text.

        Raises:
            PersistedQueryNotFoundError, UntrustedDocumentError, BadRequestError: it is not there, or may not run.
        """
        key = _hash_of(request)
        if self._trusted is not None:
            found = self._trusted.get(key or (digest(request.query) if request.query else ""))
            if found is None:
                raise UntrustedDocumentError
            return found
        if key is None:
            return request.query
        if request.query:
            if digest(request.query) != key:
                raise BadRequestError("extensions.persistedQuery.sha256Hash: is not the SHA-256 of the query")
            return request.query
        text = self._known.get(key) or await self._shared(key)
        if text is None:
            raise PersistedQueryNotFoundError
        self._remember(key, text)
        return text

    async def register(self, request: GraphQLRequest, text: str, payer: str) -> None:
        """Keep a valid document that came with its hash, once ``payer`` has paid for it."""
        key = _hash_of(request)
        if key is None or not request.query or self._trusted is not None or self._known.peek(key) is not None:
            return
        content = text.encode(errors="replace")
        if len(content) > LONGEST_BYTES:
            return  # it runs, and is sent whole each time
        self._remember(key, text)
        if self._wire is not None:
            try:
                await self._share(self._wire, key, content, payer)
            except (RedisError, OSError, TimeoutError):
                REDIS_FAILURES.inc()

    async def _share(self, wire: Wire, key: str, content: bytes, payer: str) -> None:
        """Put a text where all workers find it, while its payer has room left there; who comes later finds it there for nothing."""
        [known] = await wire.call(("EXISTS", self._key(key)))
        if known:
            return
        share = f"{self._prefix}:{{{payer}}}:texts"
        [fits] = await wire.call(("EVAL", _SHARE, 1, share, len(content) + KEY_BYTES, SHARE_BYTES, TTL_SECONDS))
        if fits:
            await wire.call(("SET", self._key(key), content, "EX", TTL_SECONDS))

    def _remember(self, key: str, text: str) -> None:
        self._known.put(key, text, text_bytes(text))

    async def _shared(self, key: str) -> str | None:
        if self._wire is None:
            return None
        try:
            [found] = await self._wire.call(("GET", self._key(key)))
        except (RedisError, OSError, TimeoutError):
            REDIS_FAILURES.inc()
            return None
        text = found.decode() if isinstance(found, bytes) else None
        # What Redis holds is believed only as far as the hash proves it.
        return text if text is not None and digest(text) == key else None

    def _key(self, key: str) -> str:
        return f"{self._prefix}:document:{key}"


def _hash_of(request: GraphQLRequest) -> str | None:
    """The hash that a request names; by Apollo's extension or by ``documentId``."""
    if request.document_id is not None:
        key: Any = request.document_id.removeprefix("sha256:")
    elif "persistedQuery" in request.extensions:
        given = request.extensions["persistedQuery"]
        if not isinstance(given, dict) or given.get("version") != 1:
            raise BadRequestError("extensions.persistedQuery: not an object with version 1 and a sha256Hash")
        key = given.get("sha256Hash")
    else:
        return None
    if not isinstance(key, str) or len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        raise BadRequestError("sha256Hash: not 64 hexadecimal digits in lower case")
    return key
