"""Short-lived bearer tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), bound to one hub.

The audience holds the fingerprint of the hub's key: a token made for one hub is worth nothing at another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedgestalt.crypto.keys import SigningKey, fingerprint, key_id
from fedgestalt.exchange.errors import Code, refused

LIFETIME: Final = 300
"""Seconds that a token of a silo or of the hub lives at most."""
JOB_LIFETIME: Final = 3600
"""Seconds that a token of a job lives at most: it opens one round, for reading and for blobs."""
TOLERANCE: Final = 300
"""Seconds by which clocks may differ."""
_MAX_TOKEN: Final = 4096
_MAX_KNOWN: Final = 4096


class Role(StrEnum):
    """Who calls."""

    SILO = "silo"
    HUB = "hub"
    JOB = "job"


class Credential(Protocol):
    """Where a client gets its bearer token from, at each request."""

    def token(self) -> str:
        """A token that is valid now."""
        ...


def audience(hub_key: bytes) -> str:
    """The ``aud`` of tokens for the exchange of the hub with this public key (32 bytes)."""
    return f"fedgestalt-exchange:{fingerprint(hub_key).hex()}"


def mint(
    key: SigningKey,
    *,
    role: Role,
    name: str,
    hub_key: bytes,
    round_uid: str = "",
    enrolment: int = 0,
    lifetime: int = LIFETIME - 60,
    now: float | None = None,
) -> str:
    """Make a token.

    Args:
        key: the silo's identity or the enrolment's delegated key; for roles hub and job the hub's key.
        name: the silo, or ``hub``.
        round_uid: the one round that a job or a delegated key may speak in.
        enrolment: set when ``key`` is the delegated key of that enrolment attempt.
        lifetime: seconds.
    """
    issued = int(time.time() if now is None else now)
    claims: dict[str, Any] = {
        "sub": name,
        "role": str(role),
        "aud": audience(hub_key),
        "iat": issued,
        "exp": issued + lifetime,
    }
    if round_uid:
        claims["round"] = round_uid
    if enrolment:
        claims["enrolment"] = enrolment
    return jwt.encode(claims, key.private_key, algorithm="EdDSA", headers={"kid": key_id(key.public).hex()})


@dataclass
class KeyCredential:
    """Makes tokens with a key and renews them before they end."""

    key: SigningKey
    role: Role
    name: str
    hub_key: bytes
    round_uid: str = ""
    enrolment: int = 0
    _token: str = ""
    _renew: float = 0.0

    def token(self) -> str:
        """A token that is valid for two more minutes at least."""
        now = time.time()
        # A clock that was set back would leave a token from the future: minted anew as well.
        if not self._renew - LIFETIME < now < self._renew:
            self._token = mint(
                self.key,
                role=self.role,
                name=self.name,
                hub_key=self.hub_key,
                round_uid=self.round_uid,
                enrolment=self.enrolment,
                now=now,
            )
            self._renew = now + LIFETIME - 180
        return self._token


@dataclass(frozen=True)
class FileCredential:
    """Reads the token from a file at each request: whoever gave it may renew it there."""

    path: Path

    def token(self) -> str:
        """The file's content."""
        return self.path.read_text().strip()


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    role: Role
    name: str
    round: str
    enrolment: int
    kid: str = ""
    """Which key the caller says to have signed with: the first 8 bytes of its SHA-256 in hex."""


class TokenVerifier:
    """Checks tokens as :func:`verify_token` does, and remembers whose signature it found good.

    A client sends the same token for minutes. Remembered is only that this key signed these claims: that the key
    still counts and that the times still fit is looked at each time.
    """

    def __init__(self, hub_key: bytes) -> None:
        self._hub_key = hub_key
        self._known: dict[str, tuple[Claims, bytes, int, int]] = {}
        self._lock = threading.Lock()

    def knows(self, token: str) -> bool:
        """Whether the signature was checked before, so that :meth:`verify` takes microseconds."""
        return token in self._known

    def verify(self, token: str, *, key_of: Callable[[Claims], bytes], now: float) -> Claims:
        """See :func:`verify_token`."""
        known = self._known.get(token)
        if known is not None and key_of(known[0]) == known[1]:
            claims, _, issued, expires = known
            _check_times(issued, expires, claims.role, now)
            return claims
        claims, key, issued, expires = _verified(token, self._hub_key, key_of)
        _check_times(issued, expires, claims.role, now)
        with self._lock:
            while len(self._known) >= _MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[token] = (claims, key, issued, expires)
        return claims


def verify_token(
    token: str, *, hub_key: bytes, key_of: Callable[[Claims], bytes], now: float | None = None
) -> Claims:
    """Check a token.

    Args:
        key_of: gives the public key (32 bytes) that must have signed these (yet unverified)
            claims; it raises what is to be raised for unknown callers.

    Raises:
        RefusedError: Unauthenticated, or ClockSkewed when the signature holds but the times are out of reach.
    """
    claims, _, issued, expires = _verified(token, hub_key, key_of)
    _check_times(issued, expires, claims.role, time.time() if now is None else now)
    return claims


def _verified(
    token: str, hub_key: bytes, key_of: Callable[[Claims], bytes]
) -> tuple[Claims, bytes, int, int]:
    """Claims, signing key, and the times of issue and expiry of a token whose signature holds."""
    if len(token) > _MAX_TOKEN:
        raise refused(Code.UNAUTHENTICATED, "the token is too long")
    try:
        unverified = jwt.decode(token, options={"verify_signature": False})
        claims = _claims(unverified, jwt.get_unverified_header(token).get("kid", ""))
    except (jwt.PyJWTError, ValueError, KeyError, TypeError) as error:
        raise refused(Code.UNAUTHENTICATED, "not a token of this protocol") from error
    key = key_of(claims)
    try:
        verified = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(key),
            algorithms=["EdDSA"],
            audience=audience(hub_key),
            options={
                "require": ["aud", "iat", "exp", "sub"],
                "verify_exp": False,  # below, with an error that tells a skewed clock from a bad key
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidAudienceError as error:
        raise refused(Code.UNAUTHENTICATED, "the token was made for another hub") from error
    except jwt.PyJWTError as error:
        raise refused(
            Code.UNAUTHENTICATED, f"the token is not signed by the key of {claims.role} {claims.name}"
        ) from error
    issued, expires = verified["iat"], verified["exp"]
    if type(issued) is not int or type(expires) is not int:
        raise refused(Code.UNAUTHENTICATED, "the token's times are not whole seconds")
    return claims, key, issued, expires


def _claims(content: Mapping[str, Any], kid: str) -> Claims:
    claims = Claims(
        role=Role(content["role"]),
        name=content["sub"],
        round=content.get("round", ""),
        enrolment=content.get("enrolment", 0),
        kid=kid,
    )
    if type(claims.name) is not str or type(claims.round) is not str or type(claims.enrolment) is not int:
        raise ValueError("a claim of another type")
    if (claims.role is Role.JOB or claims.enrolment) and not claims.round:
        raise ValueError("a job and a delegated key speak in one round only")
    return claims


def _check_times(issued: int, expires: int, role: Role, now: float) -> None:
    if expires - issued > (JOB_LIFETIME if role is Role.JOB else LIFETIME):
        raise refused(Code.UNAUTHENTICATED, "the token lives too long")
    if issued > now + TOLERANCE or expires + TOLERANCE < now:
        raise refused(
            Code.CLOCK_SKEWED,
            f"the token was made {abs(now - issued):.0f} s {'ahead of' if issued > now else 'behind'} "
            "the exchange's clock",
        )
