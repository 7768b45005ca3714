"""The board of one round, indexed. Where two entries claim one slot, the first one counts."""

from __future__ import annotations

from collections.abc import Iterable

from .kinds import HUB, RESUMED, SUSPENDED, Kind
from .types import Entry

Coordinates = tuple[int, str, int, int]
NOWHERE: Coordinates = (0, "", 0, 0)


class Board:
    """Look-ups over the entries of one round."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._slots: dict[tuple[Coordinates, str], dict[str, Entry]] = {}
        self._faults: list[Entry] = []
        self._latest: dict[str, Entry] = {}
        for entry in sorted(entries, key=lambda e: e.seq):
            where = (entry.enrolment, entry.member, entry.t, entry.attempt)
            standing = self._slots.setdefault((where, entry.kind), {})
            if entry.sender in standing:
                continue
            standing[entry.sender] = entry
            if entry.kind == Kind.FAULT:
                self._faults.append(entry)
            elif entry.sender != HUB:
                self._latest[entry.sender] = entry

    def hub(self, kind: Kind, at: Coordinates = NOWHERE) -> Entry | None:
        """The hub's decision in this slot, if there is one."""
        return self._slots.get((at, kind), {}).get(HUB)

    def silos(self, kind: Kind, at: Coordinates) -> dict[str, Entry]:
        """The silos' messages of a kind at these coordinates, by sender."""
        return {s: e for s, e in self._slots.get((at, kind), {}).items() if s != HUB}

    def anywhere(self, kind: Kind) -> list[Entry]:
        """The hub's decisions of a kind, in the board's order."""
        found = [slot[HUB] for (_, k), slot in self._slots.items() if k == kind and HUB in slot]
        return sorted(found, key=lambda e: e.seq)

    def faults(self, enrolment: int) -> list[Entry]:
        """Faults of an enrolment attempt, in the board's order."""
        return [f for f in self._faults if f.enrolment == enrolment]

    def faults_at(self, at: Coordinates) -> list[Entry]:
        """Faults at these coordinates."""
        return [f for f in self._faults if (f.enrolment, f.member, f.t, f.attempt) == at]

    def latest(self, silo: str) -> Entry | None:
        """A silo's last message that is no fault."""
        return self._latest.get(silo)

    @property
    def enrolment(self) -> int:
        """The enrolment attempt that is open or stands; 1 before anything was voided."""
        attempt = 1
        while self.hub(Kind.VOID, (attempt, "", 0, 0)) is not None:
            attempt += 1
        return attempt

    def pauses(self) -> list[tuple[float, float | None]]:
        """Suspensions as (begin, end) in received times; the last one may be open."""
        stages = self.anywhere(Kind.STAGE)
        begun = {e.t: e.received for e in stages if e.member == SUSPENDED}
        ended = {e.t: e.received for e in stages if e.member == RESUMED}
        return [(begun[k], ended.get(k)) for k in sorted(begun)]
