"""The silos that the hub knows: a JSON file that the hub writes and the exchange reads again when it changes.

    {"silos": {"west": {"identity": "<64 hex digits>", "accepted": true, "notAfter": 1790000000}}}

``notAfter`` (seconds since the Unix epoch) may be absent.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedgestalt.exchange.errors import Code, refused
from fedgestalt.files import write_atomic
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.schemas import check_name


@dataclass(frozen=True, slots=True)
class RegisteredSilo:
    """A silo as the hub's platform team registered it.

    Attributes:
        identity: its Ed25519 public key, 32 bytes.
        accepted: False revokes it: the exchange refuses its next request.
        not_after: seconds since the Unix epoch after which the identity counts no more; None: no end.
    """

    identity: bytes
    accepted: bool = True
    not_after: float | None = None


def write_registry(path: Path, silos: Mapping[str, RegisteredSilo]) -> None:
    """Write the file atomically; the exchange takes it up at the next request."""
    content = {}
    for name, silo in sorted(silos.items()):
        entry: dict[str, Any] = {"identity": silo.identity.hex(), "accepted": silo.accepted}
        if silo.not_after is not None:
            entry["notAfter"] = silo.not_after
        content[name] = entry
    write_atomic(path, json.dumps({"silos": content}, indent=2).encode())


class Registry:
    """Reads the file when its inode, size or time changed. An unreadable file lets nobody in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
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
                    self._silos = _parse(json.loads(self._path.read_text()))
                    self._stamp = stamp
            except (OSError, ValueError, KeyError, TypeError, AttributeError, MessageError) as error:
                self._stamp = None
                reason = f"{type(error).__name__}: {error}"
                raise refused(Code.REGISTRY_UNREADABLE, f"{self._path.name}: {reason}") from error
            return self._silos

    def identity(self, name: str, *, now: float) -> bytes:
        """The public key of an accepted silo.

        Raises:
            RefusedError: Unauthenticated for an unknown name, Revoked for one that is not accepted.
        """
        silo = self.silos().get(name)
        if silo is None:
            raise refused(Code.UNAUTHENTICATED, "no silo of this name is registered")
        if not silo.accepted:
            raise refused(Code.REVOKED, f"silo {name!r} is not accepted")
        if silo.not_after is not None and now > silo.not_after:
            raise refused(Code.REVOKED, f"the identity of silo {name!r} has passed its notAfter")
        return silo.identity


def _parse(document: Any) -> dict[str, RegisteredSilo]:
    result = {}
    for name, entry in document["silos"].items():
        check_name(name)
        identity = bytes.fromhex(entry["identity"])
        if len(identity) != 32:
            raise ValueError(f"silos.{name}.identity must be 64 hex digits")
        not_after = entry.get("notAfter")
        accepted = entry.get("accepted", True)
        if type(accepted) is not bool:
            raise ValueError(f"silos.{name}.accepted must be true or false")
        result[name] = RegisteredSilo(identity, accepted, None if not_after is None else float(not_after))
    return result
