"""Access tokens (JWT) verified by a JWKS, with one behaviour for every service. What a role may do is theirs to say.

A ``Door`` is asked from several threads. ``claims`` reads the JWKS and the list of withdrawn tokens when it has to; a service on an
event loop asks ``is_behind`` first, calls ``read`` in a thread, and then ``opened``, which reads nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt

from millrace_contracts.identity import ALGORITHMS, TokenSettings
from millrace_runtime.published import Document

KEYS_SECONDS = 300.0
"""The JWKS is read again after this time, so that a key that was taken out of it opens nothing for long."""
LONGEST_CLAIM = 255
"""Characters of a subject or a token's id."""


FAR_SECONDS = 1e11
"""No instant of ours is so many seconds from 1970."""


class RefusedToken(Exception):
    """A token that does not hold; the message says why, for whoever sent it."""


@dataclass(frozen=True)
class Proof:
    """What a token was believed for: it holds while its key is published and it is not withdrawn."""

    kid: str
    subject: str
    token_id: str | None
    issued: float


class Door:
    """Lets tokens in whose signature, claims and standing hold."""

    def __init__(self, settings: TokenSettings, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall
        self._lock = threading.Lock()
        self._keys: Document[dict[str, jwt.PyJWK]] = Document(settings.jwks, _public_keys, KEYS_SECONDS, clock)
        self._withdrawn: Document[Withdrawn] | None = None
        if settings.withdrawn:
            self._withdrawn = Document(
                settings.withdrawn, withdrawn_of, settings.withdrawn_seconds, clock, absent=Withdrawn({}, frozenset())
            )

    @property
    def version(self) -> tuple[object, ...]:
        """Another value once other tokens hold than before: the keys or the list have changed, or are believed no longer."""
        return tuple((each.version, each.content is None) for each in (self._keys, self._withdrawn) if each is not None)

    def is_behind(self, kid: str | None = None) -> bool:
        """Whether something is to be read first: it is old, or does not hold the key that is asked for."""
        keys = self._keys.content
        lacks = kid is not None and (keys is None or kid not in keys)
        return self._keys.is_due(wanted=lacks) or (self._withdrawn is not None and self._withdrawn.is_due())

    def read(self, kid: str | None = None) -> None:
        """Read what is due; blocks."""
        with self._lock:
            if not self.is_behind(kid):
                return
            keys = self._keys.content
            if self._keys.is_due(wanted=kid is not None and (keys is None or kid not in keys)):
                self._keys.read()
            if self._withdrawn is not None and self._withdrawn.is_due():
                self._withdrawn.read()

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that holds; blocks where something has to be read.

        Raises:
            RefusedToken: it does not hold.
        """
        self.read(key_id(token))
        return self.opened(token)

    def opened(self, token: str) -> dict[str, Any]:
        """The claims of a token that holds by what was read so far.

        Raises:
            RefusedToken: it does not hold.
        """
        kid, algorithm = _head(token)
        key = (self._keys.content or {}).get(kid)
        # One key, one algorithm: a key is never used for another than its own.
        if key is None or key.algorithm_name != algorithm:
            raise RefusedToken(f"token: no published key for {algorithm} has the id {kid!r:.60}")
        known = self._settings
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=known.audience,
                issuer=known.issuer,
                options={"require": ["exp", "iat", "sub", "aud", "iss"], "verify_exp": False, "verify_iat": False},
                leeway=known.leeway_seconds,
            )
        except jwt.PyJWTError as error:
            raise RefusedToken(f"token: {error}; ask for a new one") from None
        self._check_times(claims)
        for name in ("sub", "jti"):
            if name in claims and not (isinstance(claims[name], str) and 0 < len(claims[name]) <= LONGEST_CLAIM):
                raise RefusedToken(f"token: the claim {name} is not a text of 1 to {LONGEST_CLAIM} characters")
        if not self.holds(proof_of(token, claims)):
            raise RefusedToken("token: withdrawn; ask for a new one")
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        leeway, longest, now = self._settings.leeway_seconds, self._settings.token_longest_seconds, self._wall()
        for name in ("exp", "iat"):
            value = claims[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < FAR_SECONDS:
                raise RefusedToken(f"token: the claim {name} is {value!r:.40} and not a number of seconds since 1970")
        if claims["exp"] + leeway <= now:
            raise RefusedToken("token: expired; ask for a new one")
        if claims["iat"] > now + leeway:
            raise RefusedToken("token: the claim iat lies in the future; set the clock of who issued it right")
        if claims["exp"] - claims["iat"] > longest:
            raise RefusedToken(f"token: holds for {claims['exp'] - claims['iat']:.0f} s, and {longest} s is allowed; ask for a shorter one")

    def holds(self, proof: Proof) -> bool:
        """Whether a token that was let in would be let in now, its end aside."""
        if proof.kid not in (self._keys.content or {}):
            return False
        if self._withdrawn is None:
            return True
        withdrawn = self._withdrawn.content
        return withdrawn is not None and not withdrawn.covers(proof)


def key_id(token: str) -> str:
    """The id of the key that a token names.

    Raises:
        RefusedToken: it is no token, or signed in a way that is not taken.
    """
    return _head(token)[0]


def proof_of(token: str, claims: dict[str, Any]) -> Proof:
    """What a token that was let in is believed for."""
    return Proof(key_id(token), claims["sub"], claims.get("jti"), float(claims["iat"]))


def bearer(header: str) -> str | None:
    """The token of an Authorization header, or None where it holds none."""
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _head(token: str) -> tuple[str, str]:
    try:
        head = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise RefusedToken(f"token: {error}; ask for a new one") from None
    algorithm = head.get("alg")
    # The allow-list comes before any key is looked up: `none` and symmetric algorithms end here.
    if algorithm not in ALGORITHMS:
        raise RefusedToken(f"token: the signature algorithm {algorithm!r:.20} is not one of {', '.join(ALGORITHMS)}")
    return str(head.get("kid", "")), algorithm


def _public_keys(document: Any) -> dict[str, jwt.PyJWK]:
    """The keys that may verify tokens, by id; those for another use, of a kind that is not taken, or that are none, are left out."""
    found = (_public_key(entry) for entry in document["keys"])
    return {str(key.key_id): key for key in found if key is not None}


def _public_key(entry: Any) -> jwt.PyJWK | None:
    if not isinstance(entry, dict) or not entry.get("kid") or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
        return None
    try:
        key = jwt.PyJWK.from_dict(entry)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return key if key.algorithm_name in ALGORITHMS else None


@dataclass(frozen=True)
class Withdrawn:
    """Tokens that open nothing any more."""

    subjects: dict[str, float]
    """Subject -> epoch seconds: its tokens that were issued up to then."""
    tokens: frozenset[str]
    """Ids (the claim jti)."""

    def covers(self, proof: Proof) -> bool:
        """Whether a token is among them."""
        return proof.issued <= self.subjects.get(proof.subject, -math.inf) or proof.token_id in self.tokens


def withdrawn_of(document: Any) -> Withdrawn:
    """The list as it is published: {"subjects": {subject: epoch seconds}, "tokens": [id]}; either may be left out.

    Raises:
        ValueError, TypeError, AttributeError: it is no such list.
    """
    subjects = {str(subject): float(until) for subject, until in document.get("subjects", {}).items()}
    tokens = document.get("tokens", [])
    if not isinstance(tokens, list) or not all(isinstance(each, str) for each in tokens) or not all(map(math.isfinite, subjects.values())):
        raise ValueError("not a list of withdrawn tokens")
    return Withdrawn(subjects, frozenset(tokens))
