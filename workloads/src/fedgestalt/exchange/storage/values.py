"""The values that cross the interface of the board's storage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20
MAX_CHUNK_BYTES: Final = MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas of one sender in one round, and the room kept free on the disk.

    Attributes:
        messages: number of messages.
        message_bytes: their envelopes' bytes.
        blob_bytes: bytes of complete and half-sent blobs; deleted ones count no more.
        reserve_bytes: free disk space below which the board is full.
        retry_after: seconds that a sender is told to wait when the board is full.
    """

    messages: int = 50_000
    message_bytes: int = 256 * MIB
    blob_bytes: int = 64 * 1024 * MIB
    reserve_bytes: int = 256 * MIB
    retry_after: float = 15.0


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A verified message on its way into its slot.

    Attributes:
        round: uid of the round.
        slot: the slot's canonical text; equal slots have equal texts.
        sender: whose quota it counts against.
        data: the envelope.
        blobs: digests (hex) that must exist for it to be complete.
        decides: a word of the hub, which has none left once the round is over.
        ends: the hub's last one: with it the round is over.
    """

    round: str
    slot: str
    sender: str
    data: bytes
    blobs: tuple[str, ...] = ()
    decides: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a message stands. ``fresh`` is False when the same bytes stood there before."""

    seq: int
    received: int
    prev: bytes
    hash: bytes
    fresh: bool


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A message of the board; ``received`` in milliseconds since the Unix epoch."""

    seq: int
    received: int
    data: bytes
    complete: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a round's board.

    Attributes:
        entries: messages after the asked sequence number, in order, as many as fit.
        completed: sequence numbers of messages that became complete after the asked revision.
        revision: grows with every message and every completion; ask for changes since it.
        head: the last sequence number of the round, 0 if there is none.
        last: the place of the last of ``entries``, or without entries of message ``after``, if there is one.
    """

    entries: tuple[StoredEntry, ...]
    completed: tuple[int, ...]
    revision: int
    head: int
    last: Appended | None


@dataclass(frozen=True, slots=True)
class BlobStatus:
    """How far one owner's upload of a blob is.

    Attributes:
        offset: bytes that are there; the length once complete.
        complete: verified and kept, or deleted after its use.
        deleted: only the digest is left.
    """

    offset: int
    complete: bool
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A complete blob: bytes, and who sent it."""

    length: int
    owner: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a silo: a JSON document of the hub and one of the silo, opaque to the exchange."""

    silo: str
    name: str
    spec: bytes
    status: bytes
    revision: int
    """Of the task; grows over all tasks of the silo with every change of a spec or a deletion. It tells one state of a task
    from another within one stretch of the database; whether a list is the one that was seen, its own revision tells."""


OVER: Final = ("Succeeded", "Failed")
"""Phases in which a task has ended."""


def goes_back(standing: bytes, said: bytes) -> bool:
    """Whether a silo's word on a task would take back that it is over: a late or repeated one, or one of an agent that was
    started anew and has not read the board yet. The hub makes another task for another attempt.
    """
    phase = _phase(standing)
    return phase in OVER and _phase(said) != phase


def _phase(status: bytes) -> object:
    try:
        content = json.loads(status)
    except ValueError:
        return None
    return content.get("phase") if isinstance(content, dict) else None


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task on its way to a silo."""

    silo: str
    name: str
    spec: bytes


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release for sites: a JSON document of the hub, opaque to the exchange."""

    name: str
    spec: bytes


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What changed after a revision of the change feed.

    Attributes:
        rounds: uids, in no order.
        revision: to ask from next time.
        everything: the revision that was asked from is none of this storage, or too much changed to list.
    """

    rounds: tuple[str, ...]
    revision: int
    everything: bool = False
