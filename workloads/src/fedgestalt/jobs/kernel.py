"""The kernel Job: FLAKE's function party. Masked rows in, for each owner its rankings out, sealed to that owner."""

from __future__ import annotations

import hashlib
import secrets

from fedgestalt.crypto.sealing import seal
from fedgestalt.flake import Kernel, SiloRows
from fedgestalt.jobs.context import JobContext
from fedgestalt.secagg.messages import HUB, Kind, Slot


def run(context: JobContext) -> None:
    """Rank every test row of every silo against the galleries of all, and upload one sealed answer per owner.

    Only the owner can read its rankings: not the other silos, and not whoever reads the exchange's disk.
    """
    messages, _ = context.board()
    closed = next(m for m in messages if m.slot.kind == Kind.ROWS_CLOSED)
    silos: list[str] = closed.body["silos"]
    budget = int(context.parameters.get("memory_bytes", 256 << 20))
    kernel = Kernel(budget=budget)
    for message in messages:
        if message.slot.kind == Kind.ROWS and message.slot.sender in silos:
            blob = context.client.download(context.round, message.blobs[0])
            kernel.put(message.slot.sender, SiloRows.decode(blob))
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
    context.finish({"owners": owners})
