"""What a session asks its agent to do. A session does nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedgestalt.secagg.kinds import FaultReason
from fedgestalt.secagg.messages import Message, Slot


class SecretStore(Protocol):
    """Durable memory of one silo's agent; what ``put`` got is on the disk before it returns."""

    def get(self, key: str) -> bytes | None:
        """The value of ``key``, or None."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Store once: the same value again is no error, a different one raises."""
        ...

    def delete(self, prefix: str) -> None:
        """Forget every key that begins with ``prefix``."""
        ...


@dataclass(frozen=True)
class Post:
    """Post ``message``. Slots are written once; a replay makes the same bytes again."""

    message: Message


@dataclass(frozen=True)
class Masked:
    """Spool and sync ``data`` under its SHA-256 (``message.blobs[0]``), then post ``message``, then upload.

    ``data`` is None after a restart, when the vector was already announced: the agent sends what its spool
    holds. If the spool lacks it, the agent leaves this effect alone and calls ``submit`` again when it has
    the vector: the session makes the same bytes once more, or raises SpoolLostError if the vector differs.
    """

    message: Message
    data: bytes | None = field(repr=False)


@dataclass(frozen=True)
class Fetch:
    """Download the blob ``digest`` (hex) and give it to ``on_blob``. May be left out for a t long done."""

    digest: str
    member: str
    t: int
    attempt: int


@dataclass(frozen=True)
class Summed:
    """The sum of the survivors' vectors: unblinded, its checksum verified; int64 of shape [P]."""

    member: str
    t: int
    attempt: int
    total: NDArray[np.int64] = field(repr=False)
    survivors: tuple[str, ...]


@dataclass(frozen=True)
class Retry:
    """Try ``attempt`` (the new one) has begun, with ``scale`` times the public bounds.

    The session has posted its keys already and keeps the submitted vector if the scale did not change; if it
    did, the agent quantises again and submits.
    """

    member: str
    t: int
    attempt: int
    scale: int


@dataclass(frozen=True)
class Skipped:
    """Communication round ``t`` is given up: the model stays that of t - 1."""

    member: str
    t: int


@dataclass(frozen=True)
class Advanced:
    """At least tau silos report ``model_hash`` after ``t``."""

    member: str
    t: int
    model_hash: bytes


@dataclass(frozen=True)
class Enrolled:
    """All silos of the roster hold the same keys: work may begin."""

    h: bytes
    roster: tuple[str, ...]
    weights: Mapping[str, int]


@dataclass(frozen=True)
class Void:
    """This enrolment attempt is over; the next one is a new session."""

    reason: str


@dataclass(frozen=True)
class Fault:
    """Something failed here; where the protocol says so, a ``fault`` message is among the effects as well."""

    reason: FaultReason
    detail: str
    slot: Slot


@dataclass(frozen=True)
class Ignored:
    """A message of the board that this silo does not believe: forged, unknown sender, or out of place."""

    slot: Slot
    why: str


Effect = Post | Masked | Fetch | Summed | Retry | Skipped | Advanced | Enrolled | Void | Fault | Ignored
