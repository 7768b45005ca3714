"""A board in miniature: entries by their slots, as silos and tests look them up."""

from __future__ import annotations

from typing import Any

from fedgestalt_operator.plan import Entry


class SlotIndex:
    """Entries by slot, written once."""

    now: float
    entries: list[Entry]

    def append(
        self,
        sender: str,
        kind: str,
        e: int,
        member: str,
        t: int,
        a: int,
        body: dict[str, Any],
        complete: bool = True,
    ) -> None:
        """Write once."""
        assert sender not in self._slot(kind, e, member, t, a), f"second {kind} of {sender}"
        self.entries.append(Entry(len(self.entries), self.now, e, member, t, a, kind, sender, body, complete))
        self._index.setdefault((kind, e, member, t, a), {})[sender] = self.entries[-1]

    @property
    def _index(self) -> dict[tuple[str, int, str, int, int], dict[str, Entry]]:
        return self.__dict__.setdefault("_by_slot", {})

    def _slot(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> dict[str, Entry]:
        return self._index.get((kind, e, member, t, a), {})

    def hub(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> Entry | None:
        return self._slot(kind, e, member, t, a).get("hub")

    def said(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> dict[str, Entry]:
        return {s: x for s, x in self._slot(kind, e, member, t, a).items() if s != "hub"}

    def decisions(self, kind: str) -> list[Entry]:
        return [x for x in self.entries if x.kind == kind and x.sender == "hub"]

    def roster(self, e: int) -> list[str]:
        entry = self.hub("roster", e)
        return entry.body["silos"] if entry else []

    @property
    def enrolment(self) -> int:
        e = 1
        while self.hub("void", e):
            e += 1
        return e

    @property
    def suspended(self) -> bool:
        for x in reversed(self.entries):
            if x.kind == "stage" and x.member in ("Suspended", "Resumed"):
                return x.member == "Suspended"
        return False
