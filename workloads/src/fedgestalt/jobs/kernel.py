"""The kernel Job: FLAKE's function party. Masked rows in, for each owner its rankings out, sealed to that owner."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

import numpy as np
import rfc8785

from fedgestalt.crypto.sealing import seal
from fedgestalt.flake import Kernel, SiloRows
from fedgestalt.flake.membership import every_split
from fedgestalt.jobs.context import JobContext
from fedgestalt.secagg.messages import HUB, Kind, Slot


def run(context: JobContext) -> None:
    """Rank every test row of every silo against the galleries of all, and upload one sealed answer per owner.

    In an Adopt round only newcomers send rows; the others' galleries come from the epoch, and of the Gram matrix only
    the newcomers' blocks are computed (the result says how many).

    Only the owner can read its rankings: not the other silos, and not whoever reads the exchange's disk. Where each finds
    its own stands in a table, a blob too: of 128 silos it has 11 kB, and a Job's result 4.
    """
    messages, _ = context.board()
    closed = next(m for m in messages if m.slot.kind == Kind.ROWS_CLOSED)
    silos: list[str] = closed.body["silos"]
    splits = 0
    budget = int(context.parameters.get("memory_bytes", 256 << 20))
    kernel = Kernel(budget=budget)
    for message in messages:
        if message.slot.kind == Kind.ROWS and message.slot.sender in silos:
            rows = SiloRows.decode(context.client.download(context.round, message.blobs[0]))
            splits = rows.splits
            kernel.put(message.slot.sender, rows)
    epoch = context.parameters.get("epoch")
    if epoch is not None:
        roster = next(m for m in messages if m.slot.kind == Kind.ROSTER).body["silos"]
        for owner in roster:
            if owner not in silos:
                kernel.put(owner, in_every_split(context.epochs.gallery(epoch, owner), splits))
    sealing = {m.slot.sender: m.body["sealing"] for m in messages if m.slot.kind == Kind.ENROL}
    h: bytes = next(m for m in messages if m.slot.kind == Kind.ENROLLED).body["h"]
    slot = Slot(context.round, context.enrolment, "", 0, 0, Kind.RANKINGS, HUB).encode()
    owners: dict[str, str] = {}
    for name in silos:
        answer = kernel.rankings(name).encode()
        sealed = seal(answer, recipient=sealing[name], slot=slot, salt=h, seed=secrets.token_bytes(32))
        digest = hashlib.sha256(sealed).hexdigest()
        context.client.upload(context.round, digest, sealed)
        owners[name] = digest
    table = rfc8785.dumps({"owners": owners})
    digest = hashlib.sha256(table).hexdigest()
    context.client.upload(context.round, digest, table)
    context.finish({"table": digest, "blocks": kernel.computed})


def in_every_split(rows: SiloRows, splits: int) -> SiloRows:
    """The gallery of a silo that is of the epoch already: all of it is there whichever split a newcomer's test is in."""
    everywhere = np.full(len(rows.gallery.rows), every_split(splits), dtype=np.uint32)
    return replace(rows, splits=splits, gallery=replace(rows.gallery, splits=everywhere))
