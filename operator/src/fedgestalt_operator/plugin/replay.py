"""`replay`: what was known at a moment of a round, what the planner made of it, and what the hub did then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..api.conditions import seconds
from ..api.task import TaskPhase
from ..plan.board_file import BoardRecord
from ..plan.kinds import HUB
from ..plan.types import CreateJob, DropBlobs, EnsureTask, JobPhase, JobState, Plan, TaskState
from .audit import Checked, audit, check
from .columns import columns
from .ends import End, Exit
from .facts import Facts, plan_with
from .summaries import HEAD, action, decision, place, row
from .times import moment, span
from .words import grouped, listed

ASSUMED = (
    "A board does not tell who was connected, how Jobs and tasks stood, or what the spec was then: every silo counts as",
    "connected, what the planner had asked for before as done, Jobs as running, the spec as it is now.",
)


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment: the first `count` messages were there, at `now` (Unix time)."""

    count: int
    now: float


def replay_round(record: BoardRecord, until: str | None, step: bool, say: Callable[[str], object]) -> Exit:
    """Print a replay; FAILED where a decision is not the planner's.

    Raises:
        End: USAGE for a moment that is none, or a board that cannot be planned with.
    """
    differ = False
    try:
        if not step:
            for line in view(record, cut_at(record, until)):
                say(line)
            return Exit.SUCCEEDED
        checks = []
        for checked in audit(record):
            checks.append(checked)
            differ = differ or checked.same is False
        for line in steps(record, checks):
            say(line)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # What the planner cannot read was not written by this version's hub, or was changed since.
        what = (
            str(error)
            if isinstance(error, ValueError)
            else f"the board is not as the hub writes it: {error!r}"
        )
        raise End(Exit.USAGE, what) from error
    return Exit.FAILED if differ else Exit.SUCCEEDED


def cut_at(record: BoardRecord, until: str | None) -> Cut:
    """The moment that --until names: a sequence number, a time, or the board's end.

    Raises:
        ValueError: it is neither, or the board has nothing so early.
    """
    entries = record.entries
    if until is None:
        return Cut(len(entries), entries[-1].received if entries else record.round.metadata.created)
    if until.isdigit():
        count = sum(entry.seq <= int(until) for entry in entries)
        if not count:
            first = f"the first is {entries[0].seq}" if entries else "it is empty"
            raise ValueError(f"the board has no message up to seq {until}; {first}")
        return Cut(count, entries[count - 1].received)
    now = seconds(until)
    if now < record.round.metadata.created:
        raise ValueError(f"{until} is before the round was created")
    return Cut(sum(entry.received <= now for entry in entries), now)


def view(record: BoardRecord, cut: Cut) -> Iterator[str]:
    """The lines of a replay up to a moment."""
    known, now = record.entries[: cut.count], cut.now
    answer = _plan(record, cut)
    name, total = record.round.metadata.name, len(record.entries)
    yield f"Round {name} at {moment(now, 0.0)}: {answer.status['phase']}, {cut.count} of {total} messages were there."
    yield ""
    yield from columns(HEAD, (row(entry, now) for entry in known))
    yield ""
    yield from _answer(answer, now)
    yield ""
    following = next((i for i in range(cut.count, total) if record.entries[i].sender == HUB), None)
    if following is None:
        yield "The hub has decided nothing after that."
    else:
        checked = check(record, following)
        made = checked.made
        yield (
            f"Next, {span(made.received - now)} and {_messages(following - cut.count)} later, the hub decided "
            f"(seq {made.seq}, {moment(made.received, now)}): {decision(made)}"
        )
        yield f"  From the {_messages(checked.prefix)} that led to it the planner decides: {_verdict(checked)}"
    yield ""
    yield from ASSUMED


def _plan(record: BoardRecord, cut: Cut) -> Plan:
    """The plan at a moment, with what had been asked for before taken as done."""
    known = record.entries[: cut.count]
    then = known[-1].received if known else cut.now
    before = known if cut.now > then else known[:-1]
    earlier = plan_with(record, before, then, Facts()) if known else None
    asked = earlier.actions if earlier is not None else ()
    tasks = {a.name: TaskState(TaskPhase.RUNNING) for a in asked if isinstance(a, EnsureTask)}
    jobs = {a.name: JobState(JobPhase.RUNNING) for a in asked if isinstance(a, CreateJob)}
    dropped = frozenset(d for a in asked if isinstance(a, DropBlobs) for d in a.digests)
    return plan_with(record, known, cut.now, Facts(jobs=jobs), tasks, dropped)


def _answer(answer: Plan, now: float) -> Iterator[str]:
    yield "The planner's answer:"
    for made in answer.decisions:
        yield f"  decide  {decision(made)}"
    for planned in answer.actions:
        yield f"  do      {action(planned)}"
    for wait in grouped(answer.status.get("waitingFor", ())):
        why = f" ({wait.why})" if wait.why else ""
        until = f" until {moment(wait.until, now)}, then {wait.then}" if wait.until is not None else ""
        yield f"  wait    for {listed(wait.who)}: {wait.what}{why}{until}"
    if not (answer.decisions or answer.actions or answer.status.get("waitingFor")):
        yield "  nothing: the round is over"


def _messages(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"


def _verdict(checked: Checked) -> str:
    """In a sentence."""
    if checked.same is None:
        return f"that cannot be told: {checked.needs[0][1]}"
    if not checked.same:
        return "something else"
    if not checked.needs:
        return "the same"
    facts = "; ".join(f"{need.value}: {text}" for need, text in checked.needs)
    return f"the same, given what the board does not tell ({facts})"


def steps(record: BoardRecord, checks: Iterable[Checked]) -> Iterator[str]:
    """Every decision with the prefix that led to it and whether the planner decides the same; then a summary."""
    now = record.entries[-1].received if record.entries else 0.0
    counts = {"same": 0, "given": 0, "unknown": 0, "differ": 0}
    last = 0
    for checked in checks:
        made = checked.made
        yield f"seq {made.seq}  {moment(made.received, now)}  {decision(made)}"
        yield f"  from     {_prefix(record, last, checked)}"
        yield f"  verdict  {checked.verdict}"
        for need, text in checked.needs:
            yield f"           {need.value}: {text}"
        if checked.same is False and checked.expected is not None:
            yield from (f"         {line}" for line in _answer(checked.expected, made.received))
        last = checked.prefix
        given = "given" if checked.needs else "same"
        counts["unknown" if checked.same is None else given if checked.same else "differ"] += 1
    yield ""
    unknown = f", {counts['unknown']} cannot be told" if counts["unknown"] else ""
    yield (
        f"{sum(counts.values())} decisions: {counts['same']} same, {counts['given']} same given facts that the board does "
        f"not tell{unknown}, {counts['differ']} differ"
    )


def _prefix(record: BoardRecord, last: int, checked: Checked) -> str:
    """How many messages led to a decision, and which were new since the one before."""
    prefix = record.entries[: checked.prefix]
    if not prefix:
        return "an empty board"
    fresh: dict[str, list[str]] = {}
    for entry in prefix[last:]:
        fresh.setdefault(place(entry), []).append(entry.sender)
    new = "; ".join(f"{what} of {', '.join(who)}" for what, who in fresh.items())
    raced = record.entries[checked.prefix :]
    late = sum(e.seq < checked.made.seq for e in raced)
    while_made = f"; {late} more arrived while it was made" if late else ""
    return f"{_messages(len(prefix))} up to seq {prefix[-1].seq}; new: {new or 'nothing, time passed'}{while_made}"
