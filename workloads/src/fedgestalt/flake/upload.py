"""A silo's side of the kernel: from embeddings and a cohort to masked rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.frame import Frame
from fedgestalt.flake.mask import rotate
from fedgestalt.flake.membership import membership
from fedgestalt.flake.rows import GalleryRows, SiloRows, TestRows, UndiagnosedRows
from fedgestalt.flake.tokens import TOKEN_BYTES

#: The fingerprint of rows that no frame has masked: those of a centralised evaluation, which stay in place.
PLAINTEXT: Final = bytes(16)


def masked_rows(
    embeddings: NDArray[np.floating[Any]],
    *,
    tokens: Sequence[bytes | None],
    handles: Sequence[bytes],
    roles: Sequence[str],
    test_splits: Sequence[Sequence[int]],
    splits: int,
    frame: Frame,
) -> SiloRows:
    """Rotate a silo's embeddings and sort them into gallery, test and undiagnosed rows.

    Rows are ordered by handle inside each class: the order of the cohort (by patient, by syndrome) would tell
    the hub what the handles hide.

    Args:
        embeddings: [n, dim] of length one.
        tokens: the `label_token` of each photo's syndrome, None for an undiagnosed one.
        handles: the `photo_handle` of each photo.
        roles, test_splits, splits: as in `membership`.
        frame: the frame of the epoch.

    Raises:
        FlakeError: embeddings that are not of length one, lists that do not fit, a diagnosed role without a
            token or an undiagnosed photo with one.
    """
    return sort_rows(
        rotate(embeddings, frame),
        tokens=tokens,
        handles=handles,
        roles=roles,
        test_splits=test_splits,
        splits=splits,
        fingerprint=frame.fingerprint,
    )


def sort_rows(
    rows: NDArray[np.float64],
    *,
    tokens: Sequence[bytes | None],
    handles: Sequence[bytes],
    roles: Sequence[str],
    test_splits: Sequence[Sequence[int]],
    splits: int,
    fingerprint: bytes = PLAINTEXT,
) -> SiloRows:
    """Sort rows [n, width] that are masked already, or never will be; otherwise as `masked_rows`."""
    if not len(rows) == len(tokens) == len(handles) == len(roles):
        raise FlakeError(
            f"{len(rows)} embeddings, {len(tokens)} tokens, {len(handles)} handles and {len(roles)} roles: "
            "give one of each per photo"
        )
    for i, (token, role) in enumerate(zip(tokens, roles, strict=True)):
        if (token is None) != (role == "undiagnosed"):
            raise FlakeError(f"photo {i} of role {role}: only an undiagnosed photo has no token")
    bits = membership(roles, test_splits, splits)
    order = np.array(sorted(range(len(handles)), key=handles.__getitem__), dtype=np.intp)
    undiagnosed = np.array([role == "undiagnosed" for role in roles], dtype=np.bool_)
    in_gallery = order[bits.gallery[order] > 0]
    in_test = order[bits.test[order] > 0]
    open_cases = order[undiagnosed[order]]
    all_handles = _table(handles)
    all_tokens = _table([token or bytes(TOKEN_BYTES) for token in tokens])
    return SiloRows(
        fingerprint,
        splits,
        GalleryRows(
            rows[in_gallery], all_tokens[in_gallery], all_handles[in_gallery], bits.gallery[in_gallery]
        ),
        TestRows(rows[in_test], all_handles[in_test], bits.test[in_test]),
        UndiagnosedRows(rows[open_cases], all_handles[open_cases]),
    )


def _table(values: Sequence[bytes]) -> NDArray[np.uint8]:
    if any(len(value) != TOKEN_BYTES for value in values):
        raise FlakeError(f"tokens and handles have {TOKEN_BYTES} bytes each")
    return np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(values), TOKEN_BYTES)
