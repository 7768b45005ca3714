"""Incremental rows in pieces that every proxy lets through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedgestalt.flake.rows import GalleryRows, SiloRows, TestRows, UndiagnosedRows
from fedgestalt.flake.tokens import TOKEN_BYTES

MAX_PART_BYTES: Final = 1 << 20
"""Bytes of one upload of incremental rows."""
QUERY_KEY_BYTES: Final = 32
"""Bytes of the key that tells a repeated query from a new one."""
_HEADER_ROOM: Final = 4096


def parts(rows: SiloRows) -> Iterator[SiloRows]:
    """Divide rows without tests into uploads whose encoding has at most 1 MiB."""
    step = max(1, (MAX_PART_BYTES - _HEADER_ROOM) // (8 * rows.width + 2 * TOKEN_BYTES + 4))
    gallery, undiagnosed = rows.gallery, rows.undiagnosed
    no_tests = TestRows(rows.test.rows[:0], rows.test.handles[:0], rows.test.splits[:0])
    no_gallery = GalleryRows(gallery.rows[:0], gallery.tokens[:0], gallery.handles[:0], gallery.splits[:0])
    no_undiagnosed = UndiagnosedRows(undiagnosed.rows[:0], undiagnosed.handles[:0])
    for start in range(0, len(gallery.rows), step):
        here = slice(start, start + step)
        part = GalleryRows(
            gallery.rows[here], gallery.tokens[here], gallery.handles[here], gallery.splits[here]
        )
        yield SiloRows(rows.fingerprint, rows.splits, part, no_tests, no_undiagnosed)
    for start in range(0, len(undiagnosed.rows), step):
        here = slice(start, start + step)
        case = UndiagnosedRows(undiagnosed.rows[here], undiagnosed.handles[here])
        yield SiloRows(rows.fingerprint, rows.splits, no_gallery, no_tests, case)
