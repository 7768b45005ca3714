"""The operator's state folder belongs to one namespace: to another one's operator all its rounds would look deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fedgestalt.files import write_atomic

FILE: Final = "namespace"


class StateTaken(ValueError):  # noqa: N818
    """The state folder was used for another namespace. The message says which, and what to do."""


def claim(state: Path, namespace: str) -> None:
    """Write down whose state it is, once.

    Raises:
        StateTaken: it is another namespace's.
        OSError: the folder cannot be read or written.
    """
    path = state / FILE
    try:
        owner = path.read_text().strip()
    except FileNotFoundError:
        write_atomic(path, f"{namespace}\n".encode())
        return
    if owner != namespace:
        raise StateTaken(
            f"{state}: was used by the operator of namespace {owner}, not {namespace}, to which the rounds there would look "
            f"deleted; correct --namespace, or give --state a folder of its own"
        )
