"""What silos uploaded for the kernel, judged one by one: the rows of one cannot end the round of the others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from fedgestalt.flake import FlakeError, Kernel, SiloRows
from fedgestalt.flake.membership import every_split

log = logging.getLogger(__name__)
MAX_REASON: Final = 200
"""Characters of a reason: 128 of them fit into the Job's table."""


def fill(
    kernel: Kernel, uploads: Iterable[tuple[str, bytes]], galleries: Mapping[str, SiloRows]
) -> tuple[list[str], dict[str, str]]:
    """Give the kernel the rows that can be compared, and say whose cannot.

    What rows must have in common (width, splits, frame) is what most of the owners have. It is not what the first one
    has: that one may be the odd one out, and the others would be refused for its sake.

    Args:
        uploads: of the round, by owner.
        galleries: of an epoch that is there already, in one split; their width and frame decide, not the uploads'.

    Returns:
        The owners whose rows the kernel has, sorted, and for each other owner a short reason.
    """
    read: dict[str, SiloRows] = {}
    refused: dict[str, str] = {}
    for owner, blob in uploads:
        try:
            read[owner] = SiloRows.decode(blob)
        except (FlakeError, ValueError) as error:
            refused[owner] = _short(error)
    made = {owner: _setup(rows) for owner, rows in read.items()}
    frames = {_setup(rows)[1:] for rows in galleries.values()}
    counts = Counter(setup for setup in made.values() if not frames or setup[1:] in frames)
    wanted = min(counts, key=lambda setup: (-counts[setup], setup), default=None)
    if wanted is not None:
        for owner, rows in galleries.items():
            kernel.put(owner, in_every_split(rows, wanted[0]))
    for owner, rows in read.items():
        if made[owner] != wanted:
            refused[owner] = f"{_named(made[owner])}, most have {_named(wanted) if wanted else 'others'}"
            continue
        try:
            kernel.put(owner, rows)
        except FlakeError as error:
            refused[owner] = _short(error)
    for owner, reason in sorted(refused.items()):
        log.warning("the rows of %s are left out: %s", owner, reason)
    return sorted(read.keys() - refused.keys()), refused


def in_every_split(rows: SiloRows, splits: int) -> SiloRows:
    """The gallery of a silo that is of the epoch already: all of it is there whichever split a newcomer's test is in."""
    everywhere = np.full(len(rows.gallery.rows), every_split(splits), dtype=np.uint32)
    return replace(rows, splits=splits, gallery=replace(rows.gallery, splits=everywhere))


def _setup(rows: SiloRows) -> tuple[int, int, bytes]:
    return rows.splits, rows.width, rows.fingerprint


def _named(setup: tuple[int, int, bytes]) -> str:
    splits, width, fingerprint = setup
    return f"width {width}, {splits} splits, frame {fingerprint.hex()}"


def _short(error: Exception) -> str:
    """A stranger's bytes may stand in the text: what the table and a terminal cannot take is written out."""
    return str(error).encode("ascii", "backslashreplace").decode()[:MAX_REASON]
