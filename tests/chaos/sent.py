"""No mask is used twice: asserted over every masked vector that ever reached the exchange, accepted or not."""

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedgestalt.crypto.masks import LANE_BYTES
from fedgestalt.secagg.messages import Kind, Message, Slot


@dataclass(frozen=True)
class MaskedBlob:
    """A masked vector as it was announced; ``data`` may be a part, if the sender was cut off."""

    slot: Slot
    digest: str
    data: bytes


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def announcements(record: Path) -> list[Message]:
    """Every masked announcement that was attempted."""
    messages = [Message.decode(bytes.fromhex(line["envelope"])) for line in lines(record / "messages.jsonl")]
    return [message for message in messages if message.slot.kind == Kind.MASKED]


def masked_blobs(record: Path) -> list[MaskedBlob]:
    """One per distinct (slot, digest)."""
    found: dict[tuple[Slot, str], MaskedBlob] = {}
    for message in announcements(record):
        for digest in message.blobs:
            path = record / "blobs" / f"silo.{message.slot.sender}" / digest
            data = path.read_bytes() if path.exists() else b""
            found[message.slot, digest] = MaskedBlob(message.slot, digest, data)
    return list(found.values())


def assert_no_mask_reused(record: Path, weights: Mapping[str, int]) -> int:
    """Check the record of one federation; returns the number of masked vectors that were checked.

    Three ways: one vector per slot; no key in two vectors of one sender; and, without trust in the record of keys, no two
    vectors of one sender whose difference is as small as that of two updates under the same mask would be.
    """
    blobs = masked_blobs(record)
    whole = [blob for blob in blobs if hashlib.sha256(blob.data).hexdigest() == blob.digest]
    assert len(whole) >= 0.5 * len(blobs) > 0, "the vectors themselves were not recorded"
    by_slot: dict[Slot, set[str]] = defaultdict(set)
    by_sender: dict[str, list[MaskedBlob]] = defaultdict(list)
    for blob in blobs:
        by_slot[blob.slot].add(blob.digest)
        by_sender[blob.slot.sender].append(blob)
    assert all(len(digests) == 1 for digests in by_slot.values()), "two masked vectors in one slot"
    for sender, sent in by_sender.items():
        made = {line["digest"]: line for line in lines(record / "masks" / f"{sender}.jsonl")}
        used: dict[str, str] = {}
        for blob in sent:
            assert blob.digest in made, "a masked vector whose making was not recorded"
            for key in made[blob.digest]["keys"]:
                assert used.setdefault(key, blob.digest) == blob.digest, "one keystream in two vectors"
        for one, other in itertools.combinations(sent, 2):
            assert_far_apart(one, other, weights[sender] / sum(weights.values()))
    return len(blobs)


def assert_far_apart(one: MaskedBlob, other: MaskedBlob, share: float) -> None:
    """Under one mask the vectors would differ by less than twice ``share`` 2^31 everywhere (|x_i| <= (w_i / W) 2^31)."""
    size = min(len(one.data), len(other.data)) - LANE_BYTES
    if size < 4 * 64:
        return  # cut off after a few numbers, or a short vector: nothing to tell chance from reuse
    count = size // 4
    a, b = (np.frombuffer(blob.data, dtype="<u4", count=count).astype(np.int64) for blob in (one, other))
    apart = np.abs((a - b + 2**31) % 2**32 - 2**31)
    beyond = float(np.mean(apart > 2 * share * 2**31))
    expected = 1 - 2 * share
    assert beyond > expected / 2, (
        f"{one.slot} and {other.slot} differ too little: {beyond:.3f} of {expected:.3f}"
    )
