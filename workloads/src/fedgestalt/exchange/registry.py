"""The silos that the hub knows: a JSON file that the exchange reads again when it changes.

    {"silos": {"west": {"accepted": true, "identities": [{"key": "<64 hex digits>", "notAfter": 1790000000}]}}}

``notAfter`` (seconds since the Unix epoch) may be absent. Several identities are valid while one replaces another.
``"identity": "<64 hex digits>"`` with a ``notAfter`` beside it is read as a list of one.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, Final

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.files import write_atomic
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.schemas import check_name

MAX_SILOS: Final = 1024
MAX_IDENTITIES: Final = 8


@dataclass(frozen=True, slots=True)
class RegisteredIdentity:
    """An Ed25519 public key (32 bytes) and the time (Unix seconds) after which it counts no more; None: no end."""

    key: bytes
    not_after: float | None = None


@dataclass(frozen=True)
class RegisteredSilo:
    """A silo as the hub's platform team registered it.

    Attributes:
        accepted: False revokes it: the exchange refuses its next request.
        identities: its public keys; ``key`` and ``not_after`` are a short way to give the only one.
    """

    key: InitVar[bytes | None] = None
    accepted: bool = True
    not_after: InitVar[float | None] = None
    identities: tuple[RegisteredIdentity, ...] = ()

    def __post_init__(self, key: bytes | None, not_after: float | None) -> None:
        if key is not None:
            object.__setattr__(self, "identities", (RegisteredIdentity(key, not_after), *self.identities))

    def valid(self, now: float) -> tuple[bytes, ...]:
        """Keys that count at ``now``, the one that lasts longest first; by key where they last as long."""
        lasts = [
            (math.inf if one.not_after is None else one.not_after, one.key)
            for one in self.identities
            if one.not_after is None or one.not_after >= now
        ]
        return tuple(key for _, key in sorted(lasts, reverse=True))


def write_registry(path: Path, silos: Mapping[str, RegisteredSilo]) -> None:
    """Write the file atomically; the exchange takes it up at the next request."""
    write_atomic(path, json.dumps(registry_document(silos), indent=2).encode())


def registry_document(silos: Mapping[str, RegisteredSilo]) -> dict[str, Any]:
    """The file's content."""
    content = {}
    for name, silo in sorted(silos.items()):
        identities = [
            {"key": one.key.hex()} | ({} if one.not_after is None else {"notAfter": one.not_after})
            for one in silo.identities
        ]
        content[name] = {"accepted": silo.accepted, "identities": identities}
    return {"silos": content}


class Registry:
    """Reads the file when its inode, size or time changed. An unreadable file lets nobody in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._silos: Mapping[str, RegisteredSilo] = {}

    def silos(self) -> Mapping[str, RegisteredSilo]:
        """All registered silos by name.

        Raises:
            RefusedError: RegistryUnreadable, with the reason.
        """
        with self._lock:
            try:
                status = self._path.stat()
                stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
                if stamp != self._stamp:
                    self._silos = parse_registry(json.loads(self._path.read_text()))
                    self._stamp = stamp
            except (OSError, ValueError, RecursionError) as error:
                self._stamp = None
                reason = f"{type(error).__name__}: {error}"
                raise refused(Code.REGISTRY_UNREADABLE, f"{self._path.name}: {reason}") from error
            return self._silos

    def replace(self, document: Any) -> None:
        """Write another registry; whoever it does not let in is refused from the next request on.

        Raises:
            RefusedError: Invalid: ``document`` is no registry; the old one stands.
        """
        try:
            silos = parse_registry(document)
        except ValueError as error:
            raise refused(Code.INVALID, f"not a registry: {error}") from error
        with self._writing:
            write_registry(self._path, silos)
            # Two files of one size within a tick of the clock could look the same, were an inode used again.
            with self._lock:
                self._stamp = None

    def identities(self, name: str, *, now: float) -> tuple[bytes, ...]:
        """The valid public keys of an accepted silo, at least one, the one that lasts longest first.

        Raises:
            RefusedError: Unauthenticated for an unknown name, Revoked for one that is not accepted.
        """
        silo = self.silos().get(name)
        if silo is None:
            raise refused(Code.UNAUTHENTICATED, "no silo of this name is registered")
        if not silo.accepted:
            raise refused(Code.REVOKED, f"silo {name!r} is not accepted")
        valid = silo.valid(now)
        if not valid:
            raise refused(
                Code.REVOKED, f"no identity of silo {name!r} is valid: each has passed its notAfter"
            )
        return valid


def parse_registry(document: Any) -> dict[str, RegisteredSilo]:
    """Read the file's content.

    Raises:
        ValueError: with the place that is wrong.
    """
    silos = document.get("silos") if isinstance(document, dict) else None
    if not isinstance(silos, dict):
        raise ValueError("silos must be an object")
    if len(silos) > MAX_SILOS:
        raise ValueError(f"{len(silos)} silos, allowed are {MAX_SILOS}")
    return {name: _silo(name, entry) for name, entry in silos.items()}


def _silo(name: str, entry: Any) -> RegisteredSilo:
    try:
        check_name(name)
    except MessageError as error:
        raise ValueError(f"silos.{name[:64]}: {error}") from error
    if not isinstance(entry, dict):
        raise ValueError(f"silos.{name} must be an object")
    accepted = entry.get("accepted", True)
    if type(accepted) is not bool:
        raise ValueError(f"silos.{name}.accepted must be true or false")
    listed = entry.get("identities", [])
    if "identity" in entry:
        listed = [{"key": entry["identity"], "notAfter": entry.get("notAfter")}]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_IDENTITIES:
        raise ValueError(f"silos.{name}.identities must be a list of 1 to {MAX_IDENTITIES}")
    return RegisteredSilo(
        accepted=accepted,
        identities=tuple(
            _identity(f"silos.{name}.identities[{place}]", one) for place, one in enumerate(listed)
        ),
    )


def _identity(where: str, entry: Any) -> RegisteredIdentity:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be an object")
    key, not_after = entry.get("key"), entry.get("notAfter")
    try:
        data = bytes.fromhex(key) if isinstance(key, str) else b""
    except ValueError:
        data = b""
    if len(data) != 32:
        raise ValueError(f"{where}: the key must be 64 hex digits")
    if not_after is not None and (type(not_after) not in (int, float) or not math.isfinite(not_after)):
        raise ValueError(f"{where}.notAfter must be seconds since the Unix epoch")
    return RegisteredIdentity(data, None if not_after is None else float(not_after))
