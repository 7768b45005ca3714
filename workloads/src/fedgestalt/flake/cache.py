"""Reduced Gram blocks kept in a folder, so that the next kernel job computes the new ones only."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Final

from fedgestalt.files import private_directory, write_atomic

_NAME: Final = re.compile(r"[0-9a-f]{64}-[0-9a-f]{64}")


class FolderCache(MutableMapping[str, bytes]):
    """A mapping over files, whole or absent, for `Kernel(cache=...)`.

    The files hold similarities of masked rows: the folder belongs to the kernel job alone, and
    `Kernel.remove` (or deleting the folder) is a part of deleting the rows.
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made with mode 0700 if it is absent."""
        self._folder = private_directory(folder)

    def __getitem__(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, block: bytes) -> None:
        write_atomic(self._path(name), block)

    def __delitem__(self, name: str) -> None:
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(p.name for p in self._folder.iterdir() if _NAME.fullmatch(p.name)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not the name of a block: {name[:80]!r}")
        return self._folder / name
