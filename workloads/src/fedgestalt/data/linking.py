"""Photos into another folder of the same machine without a second copy where the file system allows."""

from __future__ import annotations

import os
from pathlib import Path


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a whole copy of it; an existing target stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(source.read_bytes())
        part.replace(target)
