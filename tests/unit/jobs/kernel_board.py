"""A board for one kernel Job: uploads of silos, and as much of the messages as the Job reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fedgestalt.crypto.keys import AgreementKey
from fedgestalt.flake import SiloRows
from fedgestalt.flake.rows import GalleryRows, TestRows, UndiagnosedRows
from fedgestalt.jobs import kernel
from fedgestalt.jobs.context import JobContext
from fedgestalt.secagg.messages import Kind


def rows(number: int, *, width: int = 4, length: float = 1.0) -> SiloRows:
    """One gallery row and one test row."""
    handles = np.full((1, 16), number, dtype=np.uint8)
    unit = np.zeros((1, width))
    unit[0, number % width] = length
    every = np.ones(1, dtype=np.uint32)
    return SiloRows(
        fingerprint=b"f" * 16,
        splits=1,
        gallery=GalleryRows(unit, handles, handles, every),
        test=TestRows(unit, handles, every),
        undiagnosed=UndiagnosedRows(np.zeros((0, width)), np.zeros((0, 16), dtype=np.uint8)),
    )


class Board:
    """The round's blobs and messages, and the epoch that newcomers join, if `galleries` has any."""

    def __init__(self, uploads: Mapping[str, bytes], galleries: Mapping[str, SiloRows] | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.galleries = dict(galleries or {})
        sealing = AgreementKey.from_seed(b"s" * 32).public
        silos = list(uploads)
        self.messages = [
            _message(Kind.ROSTER, "hub", {"silos": sorted([*silos, *self.galleries])}),
            _message(Kind.ENROLLED, "hub", {"h": b"h" * 32}),
            _message(Kind.ROWS_CLOSED, "hub", {"silos": silos}),
        ]
        for silo, data in uploads.items():
            self.messages.append(_message(Kind.ENROL, silo, {"sealing": sealing}))
            digest = hashlib.sha256(data).hexdigest()
            self.upload("", digest, data)
            self.messages.append(_message(Kind.ROWS, silo, {}, digest))

    def upload(self, round_uid: str, digest: str, data: bytes) -> None:
        self.blobs[digest] = data

    def download(self, round_uid: str, digest: str) -> bytes:
        return self.blobs[digest]

    def blob(self, round_uid: str, digest: str) -> bytes | None:
        return self.blobs.get(digest)

    def gallery(self, epoch: str, owner: str) -> SiloRows:
        return self.galleries[owner]

    def play(self, folder: Path) -> str:
        """Run the Job; what it left in its termination message."""
        board = self

        class Context(JobContext):
            def board(self) -> Any:
                return board.messages, None

        this: Any = self
        parameters = {"epoch": "ab" * 32} if self.galleries else {}
        kernel.run(Context(this, this, "5f0c2d7e", 1, b"", parameters, folder / "result"))
        return (folder / "result").read_text()


def _message(kind: Kind, sender: str, body: Mapping[str, Any], *blobs: str) -> Any:
    return SimpleNamespace(slot=SimpleNamespace(kind=kind, sender=sender), body=body, blobs=blobs)
