"""Letters between the owners of a cluster, as the hub keeps them: it can read none, and tell none from noise."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fedgestalt.crypto.encoding import decode, encode
from fedgestalt.crypto.keys import KEY_BYTES, derive
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.flake.consent import LETTER_LENGTH, Relay
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.finding import Cluster

MAX_KEYS: Final = 128
_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Post:
    """What one owner gets in a finding: all keys, ascending, and a letter from each but its own."""

    keys: tuple[bytes, ...]
    letters: Mapping[bytes, bytes]


def name_of(cluster: Cluster) -> bytes:
    """By what the hub knows a cluster in its file, 32 bytes; its owners' handles do not follow from it."""
    return hashlib.sha256(b"fedgestalt/letters/cluster/v1" + cluster.key).digest()


def forget_others(db: sqlite3.Connection, epoch: str) -> None:
    """Delete the letters of clusters that are there no more, and of silos that are in one no more."""
    db.execute(
        "DELETE FROM letters WHERE epoch = ?1 AND NOT EXISTS (SELECT 1 FROM clusters WHERE clusters.epoch = ?1 "
        "AND clusters.cluster = letters.cluster AND clusters.owner = letters.owner)",
        (epoch,),
    )


def put(
    db: sqlite3.Connection, epoch: str, owner: str, handle: bytes, key: bytes, sent: Mapping[bytes, bytes]
) -> None:
    """Keep an owner's key and letters instead of its earlier ones.

    Raises:
        RefusedError: FindingUnknown, or Invalid: another owner has this key, or a letter of another length.
    """
    cluster = _cluster(db, epoch, owner, handle)
    if len(key) != KEY_BYTES or len(sent) > MAX_KEYS:
        raise refused(Code.INVALID, f"a key has {KEY_BYTES} bytes, and there are at most {MAX_KEYS} letters")
    if any(len(to) != KEY_BYTES or len(letter) != LETTER_LENGTH for to, letter in sent.items()):
        raise refused(Code.INVALID, f"every letter has {LETTER_LENGTH} bytes, whatever it says")
    sql = "SELECT 1 FROM letters WHERE epoch = ? AND cluster = ? AND key = ? AND owner != ?"
    if db.execute(sql, (epoch, cluster, key, owner)).fetchone() is not None:
        raise refused(Code.INVALID, "another owner has this key")
    kept = encode({to.hex(): letter for to, letter in sent.items()})
    db.execute(
        "INSERT INTO letters VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (epoch, cluster, owner) DO UPDATE "
        "SET key = excluded.key, letters = excluded.letters, turn = turn + 1",
        (epoch, cluster, owner, key, kept),
    )


def get(db: sqlite3.Connection, epoch: str, owner: str, handle: bytes, secret: bytes) -> Post:
    """The keys of a finding's owners and what they wrote to one of them; nothing before it has given its own key.

    Args:
        secret: 32 bytes of the hub, from which its own keys and noise derive.

    Raises:
        RefusedError: FindingUnknown.
    """
    cluster = _cluster(db, epoch, owner, handle)
    owners = db.execute("SELECT owner FROM clusters WHERE epoch = ? AND cluster = ?", (epoch, cluster))
    relay = Relay(tuple(sorted(name for (name,) in owners)), derive(secret, salt=cluster, purpose="relay"))
    known, sent, turn = dict[str, bytes](), dict[str, dict[bytes, bytes]](), 0
    rows = db.execute(
        "SELECT owner, key, letters, turn FROM letters WHERE epoch = ? AND cluster = ?", (epoch, cluster)
    )
    for name, key, kept, written in rows:
        known[name] = key
        sent[name] = {bytes.fromhex(to): letter for to, letter in decode(kept, limit=_LIMIT).items()}
        turn = written if name == owner else turn
    if owner not in known:
        return Post((), {})
    try:
        return Post(relay.keys(known), relay.letters(owner, known, sent, turn))
    except FlakeError as error:
        raise refused(Code.INVALID, str(error)) from error


def _cluster(db: sqlite3.Connection, epoch: str, owner: str, handle: bytes) -> bytes:
    sql = "SELECT cluster FROM clusters WHERE epoch = ? AND owner = ? AND handle = ?"
    row = db.execute(sql, (epoch, owner, handle)).fetchone()
    if row is None:
        raise refused(Code.FINDING_UNKNOWN, f"finding {handle.hex()[:12]} of {owner!r} in epoch {epoch[:16]}")
    return bytes(row[0])
