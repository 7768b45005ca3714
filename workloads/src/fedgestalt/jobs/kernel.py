"""The kernel Job: FLAKE's function party. Masked rows in, for each owner its rankings out, sealed to that owner."""

from __future__ import annotations

import hashlib
import secrets

import rfc8785

from fedgestalt.crypto.sealing import seal
from fedgestalt.flake import Kernel, SiloRows
from fedgestalt.jobs.context import JobContext
from fedgestalt.jobs.uploads import fill
from fedgestalt.secagg.messages import HUB, Kind, Slot


def run(context: JobContext) -> None:
    """Rank every test row of every silo against the galleries of all, and upload one sealed answer per owner.

    In an Adopt round only newcomers send rows; the others' galleries come from the epoch, and of the Gram matrix only
    the newcomers' blocks are computed (the result says how many).

    Rows that cannot be read, or do not go with those of most, are left out and named in the answer, with why.

    Only the owner can read its rankings: not the other silos, and not whoever reads the exchange's disk. Where each finds
    its own stands in a table, a blob too: of 128 silos it has 11 kB, and a Job's result 4.
    """
    messages, _ = context.board()
    closed = next(m for m in messages if m.slot.kind == Kind.ROWS_CLOSED)
    silos: list[str] = closed.body["silos"]
    kernel = Kernel(budget=int(context.parameters.get("memory_bytes", 256 << 20)))
    sent = (
        (m.slot.sender, context.client.download(context.round, m.blobs[0]))
        for m in messages
        if m.slot.kind == Kind.ROWS and m.slot.sender in silos
    )
    epoch = context.parameters.get("epoch")
    galleries: dict[str, SiloRows] = {}
    if epoch is not None:
        roster = next(m for m in messages if m.slot.kind == Kind.ROSTER).body["silos"]
        galleries = {owner: context.epochs.gallery(epoch, owner) for owner in roster if owner not in silos}
    ranked, refused = fill(kernel, sent, galleries)
    sealing = {m.slot.sender: m.body["sealing"] for m in messages if m.slot.kind == Kind.ENROL}
    h: bytes = next(m for m in messages if m.slot.kind == Kind.ENROLLED).body["h"]
    slot = Slot(context.round, context.enrolment, "", 0, 0, Kind.RANKINGS, HUB).encode()
    owners: dict[str, str] = {}
    for name in ranked:
        answer = kernel.rankings(name).encode()
        sealed = seal(answer, recipient=sealing[name], slot=slot, salt=h, seed=secrets.token_bytes(32))
        digest = hashlib.sha256(sealed).hexdigest()
        context.client.upload(context.round, digest, sealed)
        owners[name] = digest
    table = rfc8785.dumps({"owners": owners, "refused": refused})
    digest = hashlib.sha256(table).hexdigest()
    context.client.upload(context.round, digest, table)
    context.finish({"table": digest, "blocks": kernel.computed})
