"""The hub's part: add the survivors' masked vectors and take off the masks that do not cancel.

A stateless job over the board: the same messages and blobs give the same bytes. What is left in the sum are
the survivors' G_i, which only the silos can take off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fedgestalt.crypto.errors import ShareError, SignatureError
from fedgestalt.crypto.masks import LANE_BYTES, LANES, Mask, Masker, blocks
from fedgestalt.secagg.computation import Computation, need, quorum
from fedgestalt.secagg.context import Peer, handshake_hash, pair_sign, self_key, try_context
from fedgestalt.secagg.errors import AggregateError
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.messages import Message, verify
from fedgestalt.secagg.sharing import restore, verify_share
from fedgestalt.secagg.vector import to_bytes

Blobs = Callable[[str], Path | bytes]


@dataclass(frozen=True)
class Coordinates:
    """Which sum is asked for."""

    enrolment: int
    member: str
    t: int
    attempt: int


def aggregate(
    messages: Iterable[Message], blobs: Blobs, at: Coordinates, *, computation: Computation, hub_key: bytes
) -> bytes:
    """The blinded sum of the survivors' vectors, with the blinded lanes of its checksum.

    Memory: one vector and a few blocks, whatever the number of silos.

    Args:
        messages: the board of the round (messages that do not concern ``at`` are passed over).
        blobs: gives a masked vector by its digest (hex), as bytes or as the path of a file.
        at: which sum.
        computation: message 0.
        hub_key: the hub's public key, 32 bytes.

    Returns:
        4 P + 16 bytes: uint32 little-endian, then two uint64 little-endian.

    Raises:
        AggregateError: a decision, accept, share or seed is missing or does not belong, or a blob is not
            what was announced; the message says whose.
        SignatureError: a message was not signed by whom it names.
    """
    board = _Board(messages, at, computation, hub_key)
    ctx = board.context()
    survivors, senders = board.decided(Kind.SURVIVORS), board.decided(Kind.SENDERS)
    if len(survivors) < need(len(board.roster), computation.min_silos) or not set(survivors) <= set(senders):
        raise AggregateError(f"{len(survivors)} survivors are too few, or not all of them are senders")
    board.check_accepts(ctx, survivors)
    masks = [Mask(self_key(secret, ctx), -1) for secret in board.self_secrets(ctx, survivors)]
    dropped = [name for name in senders if name not in survivors]
    masks.extend(board.dangling(survivors, dropped))
    return _sum({name: board.announced(name) for name in survivors}, blobs, masks)


class _Board:
    """The messages of one try, verified, and the roster they belong to."""

    def __init__(
        self, messages: Iterable[Message], at: Coordinates, computation: Computation, hub_key: bytes
    ) -> None:
        self._at, self._hub_key = at, hub_key
        self._revealed: Mapping[str, Mapping[str, Mapping[str, bytes]]] | None = None
        enrols: dict[str, Message] = {}
        roster: Message | None = None
        self._messages: dict[tuple[Kind, str], Message] = {}
        for message in messages:
            slot = message.slot
            if (slot.round, slot.enrolment) != (computation.round, at.enrolment):
                continue
            if slot.kind is Kind.ENROL:
                enrols.setdefault(slot.sender, message)
            elif slot.kind is Kind.ROSTER:
                roster = roster or message
            elif (slot.member, slot.t, slot.attempt) == (at.member, at.t, at.attempt):
                self._messages.setdefault((slot.kind, slot.sender), message)
        if roster is None:
            raise AggregateError(f"enrolment {at.enrolment} has no roster")
        verify(roster, hub_key)
        self.peers: dict[str, Peer] = {}
        for name in roster.body["silos"]:
            if name not in enrols or name not in computation.silos:
                raise AggregateError(f"{name!r} is in the roster but did not enrol")
            verify(enrols[name], computation.silos[name])
            self.peers[name] = Peer.of(enrols[name].body)
        self.roster = list(self.peers)
        self._h = handshake_hash(computation, at.enrolment, self.peers)

    def decided(self, kind: Kind) -> list[str]:
        """The silos that a decision of the hub names."""
        message = self._messages.get((kind, "hub"))
        if message is None:
            raise AggregateError(f"no {kind} was decided for {self._at.member} t={self._at.t}")
        verify(message, self._hub_key)
        silos: list[str] = message.body["silos"]
        return silos

    def context(self) -> bytes:
        """ctx of the try."""
        keys = {name: self._of(Kind.KEYS, name).body for name in self.decided(Kind.KEYSET)}
        models = {body["model"] for body in keys.values()}
        if len(models) != 1:
            raise AggregateError("the silos of the key set hold different global models")
        publics = {name: body["public"] for name, body in keys.items()}
        at = self._at
        return try_context(self._h, at.member, at.t, at.attempt, publics, models.pop())

    def check_accepts(self, ctx: bytes, survivors: list[str]) -> None:
        """At least tau survivors signed (ctx, S)."""
        accepted = 0
        for name in survivors:
            if (Kind.ACCEPT, name) in self._messages:
                body = self._of(Kind.ACCEPT, name).body
                accepted += body["ctx"] == ctx and body["silos"] == survivors
        if accepted < quorum(len(self.roster)):
            raise AggregateError(
                f"{accepted} of {quorum(len(self.roster))} survivors accepted the survivor set"
            )

    def self_secrets(self, ctx: bytes, survivors: Sequence[str]) -> list[bytes]:
        """b_i of each survivor, from the revealed shares that bear its dealer's signature."""
        secrets = []
        for dealer in survivors:
            shares: dict[str, bytes] = {}
            unsigned: list[str] = []
            for holder, body in self._reveals(survivors).items():
                signed = body["self"].get(dealer, b"")
                try:
                    shares[holder] = verify_share(signed, self.peers[dealer].signing, ctx, dealer, holder)
                except SignatureError:
                    unsigned.append(holder)
            try:
                secrets.append(restore(shares, self.roster))
            except ShareError as error:
                of_whom = (
                    f"; no share that {dealer} signed came from {', '.join(unsigned)}" if unsigned else ""
                )
                raise AggregateError(
                    f"the self mask of {dealer} cannot be restored: {error}{of_whom}"
                ) from error
        return secrets

    def dangling(self, survivors: Sequence[str], dropped: Sequence[str]) -> list[Mask]:
        """What takes off the masks that survivors share with senders who dropped out."""
        masks = []
        for name in survivors if dropped else ():
            seeds = self._reveals(survivors).get(name, {}).get("pair", {})
            for gone in dropped:
                if gone not in seeds:
                    raise AggregateError(f"{name} did not reveal the seed that it shares with {gone}")
                masks.append(Mask(seeds[gone], -pair_sign(name, gone)))
        return masks

    def announced(self, name: str) -> tuple[str, int]:
        """Digest and length of a silo's masked vector."""
        body = self._of(Kind.MASKED, name).body
        return body["digest"].hex(), body["length"]

    def _reveals(self, survivors: Sequence[str]) -> Mapping[str, Mapping[str, Mapping[str, bytes]]]:
        if self._revealed is None:
            there = [name for name in survivors if (Kind.REVEAL, name) in self._messages]
            self._revealed = {name: self._of(Kind.REVEAL, name).body for name in there}
        return self._revealed

    def _of(self, kind: Kind, name: str) -> Message:
        message = self._messages.get((kind, name))
        if message is None or name not in self.peers:
            raise AggregateError(f"{name} of the roster posted no {kind}")
        verify(message, self.peers[name].signing)
        return message


def _sum(vectors: Mapping[str, tuple[str, int]], blobs: Blobs, masks: Sequence[Mask]) -> bytes:
    lengths = {length for _, length in vectors.values()}
    if len(lengths) != 1:
        raise AggregateError("the masked vectors of the survivors differ in length")
    size, odd = divmod(lengths.pop() - LANE_BYTES, 4)
    if odd or size < 1:
        raise AggregateError("the length of the masked vectors fits no vector")
    total, lanes = np.zeros(size, dtype=np.uint32), np.zeros(LANES, dtype=np.uint64)
    masker = Masker(masks)
    with ExitStack() as stack:
        readers = [
            _Reader(name, digest, stack.enter_context(_open(blobs(digest))))
            for name, (digest, _) in vectors.items()
        ]
        for part in blocks(size):
            block = total[part]
            for reader in readers:
                block += np.frombuffer(reader.take(4 * block.size), dtype="<u4")
            masker.block(block)
        for reader in readers:
            lanes += np.frombuffer(reader.take(LANE_BYTES), dtype="<u8")
            reader.finish()
    masker.lanes(lanes)
    return to_bytes(total, lanes)


def _open(blob: Path | bytes) -> BinaryIO:
    return blob.open("rb") if isinstance(blob, Path) else BytesIO(blob)


class _Reader:
    """Reads a masked vector once, from front to end, and checks its digest on the way."""

    def __init__(self, name: str, digest: str, file: BinaryIO) -> None:
        self._name, self._digest, self._file = name, digest, file
        self._hash = hashlib.sha256()

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise AggregateError(f"the masked vector of {self._name} is shorter than announced")
        self._hash.update(data)
        return data

    def finish(self) -> None:
        if self._file.read(1) or self._hash.hexdigest() != self._digest:
            raise AggregateError(f"the masked vector of {self._name} is not the blob that was announced")
