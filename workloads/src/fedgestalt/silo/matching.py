"""The silo's side of encoding, matching and evaluation: embeddings become masked rows, rankings become contributions.

Labels, patients and file names stay in this process and in the silo's own folder; what leaves are rotated rows, keyed
tokens and opaque handles.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.evaluation import Case, Layout, contributions, summarise
from fedgestalt.files import write_atomic
from fedgestalt.flake import Frame, Rankings, SiloRows, label_token, masked_rows, photo_handle
from fedgestalt.flake.tokens import TOKEN_BYTES

SPLITS = 10
GALLERY = "gallery.npz"
HANDLES = "handles.json"
MOST_REPLICATES = 400
"""Bootstrap replicates that still fit into a message; with more of them the table has intervals only."""


@dataclass(frozen=True)
class EpochKeys:
    """The subkeys of K_epoch that matching uses, 32 bytes each, and the silo's own key for handles."""

    frame: bytes
    token: bytes
    handle: bytes


def layout_of(vocabulary: Mapping[str, Sequence[str]], replicates: int) -> Layout:
    """The layout of the contributions that all silos share: it follows from the round's vocabulary alone."""
    return Layout(tuple(sorted(vocabulary["trained"])), tuple(sorted(vocabulary["rare"])), SPLITS, replicates)


class Matching:
    """State of one silo between its upload of rows and the table; durable in ``directory`` (private to the silo)."""

    def __init__(self, directory: Path, keys: EpochKeys, layout: Layout, seed: int) -> None:
        self._directory, self._keys, self._layout, self._seed = directory, keys, layout, seed

    def mask(
        self, embeddings: NDArray[np.float64], rows: Sequence[Mapping[str, Any]], width: int | None
    ) -> tuple[SiloRows, dict[str, int]]:
        """Rotate the embeddings and name their rows.

        Args:
            embeddings: unit rows, float64 [n, d].
            rows: per row ``photo`` (a name unique in the silo), ``patient``, ``syndrome`` ("" if undiagnosed), ``role``
                and ``test_splits``.
            width: of the frame; None for square.

        Returns:
            What is uploaded, and the counts of gallery, test and undiagnosed rows.
        """
        handles = [photo_handle(self._keys.handle, str(row["photo"])) for row in rows]
        masked = masked_rows(
            embeddings,
            tokens=[
                label_token(self._keys.token, row["syndrome"]) if row["syndrome"] else None for row in rows
            ],
            handles=handles,
            roles=[row["role"] for row in rows],
            test_splits=[tuple(row["test_splits"]) for row in rows],
            splits=self._layout.splits,
            frame=Frame.derive(self._keys.frame, embeddings.shape[1], width),
        )
        tests = {bytes(handle) for handle in masked.test.handles}
        cases = {
            handle.hex(): [row["syndrome"], row["patient"]]
            for handle, row in zip(handles, rows, strict=True)
            if handle in tests
        }
        write_atomic(self._directory / "cases.json", json.dumps(cases).encode())
        self._keep(embeddings, rows, handles, masked)
        counts = {
            "gallery": len(masked.gallery.rows),
            "test": len(masked.test.rows),
            "undiagnosed": len(masked.undiagnosed.rows),
        }
        return masked, counts

    def _keep(
        self,
        embeddings: NDArray[np.float64],
        rows: Sequence[Mapping[str, Any]],
        handles: Sequence[bytes],
        masked: SiloRows,
    ) -> None:
        """The silo's own gallery, for local matches without the hub, and which handle is which photo."""
        gallery = {bytes(handle) for handle in masked.gallery.handles}
        here = [i for i, handle in enumerate(handles) if handle in gallery]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            embeddings=embeddings[here],
            syndromes=np.array([rows[i]["syndrome"] for i in here], dtype=np.str_),
            photos=np.array([rows[i]["photo"] for i in here], dtype=np.str_),
            patients=np.array([rows[i]["patient"] for i in here], dtype=np.str_),
            handles=np.frombuffer(b"".join(handles[i] for i in here), dtype=np.uint8).reshape(
                -1, TOKEN_BYTES
            ),
        )
        write_atomic(self._directory / GALLERY, buffer.getvalue())
        named = {str(row["photo"]): handle.hex() for row, handle in zip(rows, handles, strict=True)}
        write_atomic(self._directory / HANDLES, json.dumps(named).encode())

    @property
    def layout(self) -> Layout:
        """The layout of the contributions."""
        return self._layout

    @property
    def directory(self) -> Path:
        """Where ``gallery.npz`` and ``handles.json`` lie."""
        return self._directory

    def score(self, rankings: bytes, uploaded: SiloRows) -> NDArray[np.uint32]:
        """Turn the kernel's answer into this silo's contributions to the federation's table, uint32."""
        cases = json.loads((self._directory / "cases.json").read_text())
        known = {
            bytes.fromhex(handle): Case(syndrome, patient) for handle, (syndrome, patient) in cases.items()
        }
        syndromes = (*self._layout.trained, *self._layout.rare)
        tokens = {syndrome: label_token(self._keys.token, syndrome) for syndrome in syndromes}
        answer = Rankings.decode(rankings, uploaded.test, self._layout.splits)
        return contributions(answer, known, tokens, self._layout, self._seed)

    def table(self, total: NDArray[np.uint32]) -> bytes:
        """The macro table from the sum over silos, as canonical bytes that every silo computes alike."""
        table = summarise(total, self._layout)
        content = {"table": _rounded(table.to_json()), "layout": self._layout.digest}
        if self._layout.replicates <= MOST_REPLICATES:
            content["replicates"] = _rounded(np.nan_to_num(table.replicates, nan=-1.0).tolist())
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _rounded(value: Any) -> Any:
    """Six decimals: sums of floats may differ in the last place from one processor to another, tables must not."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def handle_key(site_secret: bytes, h: bytes) -> bytes:
    """The silo's key for photo handles, fresh per epoch so that handles of two epochs do not link."""
    return hashlib.sha256(b"fedgestalt/handle-key/v1" + site_secret + h).digest()
