"""Beginning afresh in a round: what an enrolment left at this site goes, but what keeps two sums from being told apart.

After a board was set back, or an enrolment that stood was void, nothing of it may be used again: its keys, shares and masks are
deleted, its vectors, checkpoints and models too, and no message of it is answered. The record of survivor sets stays, since
training may repeat its updates: of one (member, t) no second sum over other silos may ever be opened.
"""

from __future__ import annotations

import shutil
from typing import Final

from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.workplace import Workplace

MOST_ATTEMPTS: Final = 64
"""More than any hub makes of one round."""
_MADE: Final = ("train", "encode", "matching", "models", "spool")


def begin(store: DiskStore, attempt: int) -> None:
    """Write down that this silo takes part in an enrolment attempt, before it does."""
    store.put(f"attempt/{attempt}", b"1")


def burnt(store: DiskStore) -> int:
    """The last enrolment attempt that this silo must never answer again; 0 for none."""
    return _last(store, "burnt")


def unfinished(store: DiskStore) -> bool:
    """Whether a kill may have cut off :func:`burn`: nothing was begun since."""
    return 0 < burnt(store) == _last(store, "attempt")


def burn(place: Workplace) -> None:
    """Never answer an attempt again that this silo has taken part in, and delete what they made. Repeatable."""
    last = _last(place.store, "attempt")
    if last:
        place.store.put(f"burnt/{last}", b"1")  # first: whatever a kill leaves is deleted at the next start
    place.forget()
    for name in _MADE:
        shutil.rmtree(place.directory / name, ignore_errors=True)


def _last(store: DiskStore, what: str) -> int:
    return max((n for n in range(1, MOST_ATTEMPTS + 1) if store.get(f"{what}/{n}") is not None), default=0)
