"""Was each decision of a round what the planner decides from the messages before it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..plan.board_file import BoardRecord, plain
from ..plan.kinds import HUB
from ..plan.types import Entry, Plan
from .facts import CLOCKS, Facts, Need, plan_with
from .hypotheses import hypotheses, quiet, required

RACE: Final = 30.0
"""Seconds within which messages may have arrived between the hub's look at the board and its decision."""
_MOST_CUTS: Final = 256
_FEW_CUTS: Final = 8


@dataclass(frozen=True, slots=True)
class Checked:
    """One recorded decision.

    `prefix` is how many messages led to it: all before it, or fewer where the others arrived while it was made. `needs` are
    facts that are not on the board and without which the planner decides otherwise. `same` is None where that cannot be
    told: the export lacks the base release. `expected` is what the planner says instead, where the decision differs.
    """

    made: Entry
    prefix: int
    same: bool | None
    needs: tuple[tuple[Need, str], ...]
    expected: Plan | None

    @property
    def verdict(self) -> str:
        """`same`, `needs presence, job`, `cannot be told` or `DIFFERS`."""
        if self.same is None:
            return "cannot be told"
        if not self.same:
            return "DIFFERS"
        kinds = dict.fromkeys(need.value for need, _ in self.needs)
        return f"needs {', '.join(kinds)}" if kinds else "same"


def audit(record: BoardRecord) -> Iterator[Checked]:
    """Check every decision of the hub, in the board's order."""
    for place, entry in enumerate(record.entries):
        if entry.sender == HUB:
            yield check(record, place)


def check(record: BoardRecord, place: int) -> Checked:
    """Check the decision at `place` (an index into the record's entries)."""
    made = record.entries[place]
    try:
        return _check(record, place, made)
    except KeyError:
        if record.base is None and record.computation is not None and record.computation.get("base"):
            why = (Need.BASE, "the export lacks the base release, on which this decision depends")
            return Checked(made, place, None, (why,), None)
        raise


def _check(record: BoardRecord, place: int, made: Entry) -> Checked:
    before = record.entries[:place]
    given = required(record, made, before, made.received)
    stated = [Facts()] if given == Facts() else [Facts(), given]
    for cuts in (0, _MOST_CUTS):  # nearly always all messages before a decision led to it
        for facts in stated:
            for cut, now, answer in _looks(record, place, facts, cuts):
                if holds(answer, made):
                    usual = facts == Facts()
                    needs = _reliant(record, record.entries[:cut], now, made) if usual else facts.stated()
                    return Checked(made, cut, True, needs, None)
    expected = plan_with(record, before, made.received, given)
    for facts in hypotheses(record, made, before, made.received, given, expected):
        for cut, _, answer in _looks(record, place, facts, _FEW_CUTS):
            if holds(answer, made):
                return Checked(made, cut, True, facts.stated(), None)
    return Checked(made, place, False, (), expected)


def _looks(record: BoardRecord, place: int, facts: Facts, cuts: int) -> Iterator[tuple[int, float, Plan]]:
    """What the planner says at each look that the hub may have taken at the board: prefix, time, plan."""
    made = record.entries[place]
    for cut in range(place, max(-1, place - cuts - 1), -1):
        if cut < place and made.received - record.entries[cut].received > RACE:
            return
        prefix = record.entries[:cut]
        moments = [made.received, *([prefix[-1].received] if prefix else [])]
        if cut == place:
            moments.append(made.received + CLOCKS)
        for now in dict.fromkeys(moments):
            yield cut, now, plan_with(record, prefix, now, facts)


def _reliant(
    record: BoardRecord, prefix: Sequence[Entry], now: float, made: Entry
) -> tuple[tuple[Need, str], ...]:
    """Says so where the decision rests on silos being connected that the board had not heard for a while."""
    absent = quiet(record, prefix, now)
    if not absent or holds(plan_with(record, prefix, now, Facts(silent=absent)), made):
        return ()
    return ((Need.PRESENCE, f"connected, though not heard on the board: {', '.join(sorted(absent))}"),)


def holds(answer: Plan, made: Entry) -> bool:
    """Whether a plan contains a recorded decision, its body included."""
    slot = (made.enrolment, made.member, made.t, made.attempt, made.kind)
    return any(d.slot == slot and plain(d.body) == plain(made.body) for d in answer.decisions)
