"""What must hold whenever the hub does something: checked before each decision, action and status, not by the planner."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedgestalt_operator.api.conditions import seconds
from fedgestalt_operator.api.task import SiloTask
from fedgestalt_operator.kube.port import Document
from fedgestalt_operator.plan.deadlines import START_WITHIN
from fedgestalt_operator.plan.types import Decision, Entry

from .faults import Violation

if TYPE_CHECKING:
    from .federation import Federation

TERMINAL = ("Succeeded", "Failed")
PHASES = ("Pending", "Enrolling", "Training", "Encoding", "Matching", "Releasing", *TERMINAL)
SLACK = 20.0
"""Seconds by which a process may have known less of silos than is true now: a look, what is late, what was slow."""
_AGGREGATE = re.compile(r"fg-5f0c2d7e-aggregate-(?P<member>.+)-(?P<t>\d+)-(?P<a>\d+)-(?P<e>\d+)-(?P<r>\d+)")
_KERNEL = re.compile(r"fg-5f0c2d7e-kernel-(?P<e>\d+)-(?P<r>\d+)")
_TASK = re.compile(r"fg-5f0c2d7e-(?P<kind>enrol|train|encode)-(?P<silo>.+)-(?P<e>\d+)")


def must(holds: object, what: str) -> None:
    """Raise a `Violation` unless it holds."""
    if not holds:
        raise Violation(what)


class Invariants:
    """Told of everything before it happens."""

    def __init__(self, world: Federation) -> None:
        self._world = world
        self.jobs: list[str] = []
        self.terminal: tuple[str, str] | None = None
        self._until: dict[tuple[str, ...], str] = {}

    # -------------------------------------------------------------- decisions

    def deciding(self, d: Decision) -> None:
        """A decision is about to stand on the board."""
        board, at = self._world.exchange, (d.enrolment, d.member, d.t, d.attempt)
        for kinds in (("advance", "skip", "retry"), ("enrolled", "void")):
            if d.kind in kinds:
                beside = [k for k in kinds if k != d.kind and board.hub(k, *at)]
                must(not beside, f"{d.kind} decided beside {beside} at {at}")
        check = getattr(self, f"_{d.kind.replace('-', '_')}", None)
        if check is not None:
            check(d, at)

    def _computation(self, d: Decision, at: Any) -> None:
        must(not self._world.exchange.entries, "the computation is not the first message")

    def _roster(self, d: Decision, at: Any) -> None:
        enrolled = self._world.exchange.said("enrol", d.enrolment)
        must(set(d.body["silos"]) <= enrolled.keys(), "a silo is in the roster that did not enrol")

    def _enrolled(self, d: Decision, at: Any) -> None:
        board = self._world.exchange
        must(
            set(board.roster(d.enrolment)) <= board.said("confirm", d.enrolment).keys(),
            "enrolled, not confirmed",
        )

    def _keyset(self, d: Decision, at: Any) -> None:
        pinned = self._pinned(d)
        self._closed(d, at, "keys", pinned or self._world.exchange.roster(d.enrolment))

    def _senders(self, d: Decision, at: Any) -> None:
        keyset = self._world.exchange.hub("keyset", *at)
        must(keyset, "senders without keyset")
        self._closed(d, at, "shares", self._pinned(d) or keyset.body["silos"], floor=keyset.received)

    def _survivors(self, d: Decision, at: Any) -> None:
        board, chosen = self._world.exchange, tuple(d.body["silos"])
        senders = board.hub("senders", *at)
        must(senders, "survivors without senders")
        masked = board.said("masked", *at)
        must(
            all(masked[s].complete for s in chosen if s in masked), "a survivor whose upload is not complete"
        )
        pinned = self._pinned(d)
        must(
            pinned in (None, chosen), f"a second survivor set for {d.member} t={d.t}: {pinned}, then {chosen}"
        )
        self._closed(d, at, "masked", pinned or senders.body["silos"])

    def _pinned(self, d: Decision) -> tuple[str, ...] | None:
        """The survivor set that was decided for this (member, t) in an earlier try."""
        same = (d.enrolment, d.member, d.t)
        earlier = (
            x for x in self._world.exchange.decisions("survivors") if (x.enrolment, x.member, x.t) == same
        )
        return next((tuple(x.body["silos"]) for x in earlier), None)

    def _rows_closed(self, d: Decision, at: Any) -> None:
        self._closed(d, at, "rows", self._world.exchange.roster(d.enrolment))

    def _aggregate(self, d: Decision, at: Any) -> None:
        must(self._world.exchange.hub("survivors", *at), "an aggregate without survivors")
        known = [r.get("digest") for n, r in self._world.jobs.results.items() if _coordinates(n) == at]
        must(d.body["digest"].hex() in known, "an aggregate that no Job made")

    def _rankings(self, d: Decision, at: Any) -> None:
        found = {s: x.hex() for s, x in d.body["owners"].items()}
        must(
            found in [r.get("owners") for r in self._world.jobs.results.values()], "rankings that no Job made"
        )

    def _advance(self, d: Decision, at: Any) -> None:
        board = self._world.exchange
        equal = [s for s, e in board.said("model", *at).items() if e.body["hash"] == d.body["hash"]]
        must(len(equal) >= 2 * len(board.roster(d.enrolment)) // 3 + 1, "advance without a quorum of models")

    def _stage(self, d: Decision, at: Any) -> None:
        board, e = self._world.exchange, d.enrolment
        if d.member != "Encoding":
            return
        must(board.hub("enrolled", e), "Encoding before enrolled")
        for member in self._world.round.trainable:
            for t in range(1, self._world.round.communication_rounds + 1):
                tries = range(1, 7)
                over = any(board.hub(k, e, member, t, a) for k in ("advance", "skip") for a in tries)
                must(over, f"Encoding before {member} t={t} is over")

    def _released(self, d: Decision, at: Any) -> None:
        board = self._world.exchange
        signed = {
            s for s, x in board.said("sign", d.enrolment).items() if x.body["digest"] == d.body["digest"]
        }
        must(set(d.body["signers"]) <= signed and len(d.body["signers"]) >= 3, "released without signatures")

    def _failed(self, d: Decision, at: Any) -> None:
        world, board = self._world, self._world.exchange
        spec, reason = world.round.deadlines, d.body["reason"]
        if reason == "DeadlineExceeded":
            since, limit = board.hub("enrolled", board.enrolment), spec.active
            must(since, "the active deadline has passed before it ran")
        elif reason == "QuorumNotReached":
            since = (
                board.decisions("void")[-1] if board.decisions("void") else board.decisions("computation")[0]
            )
            limit = spec.start
        else:
            return
        ran = world.now - since.received - self._paused(since.received)
        must(ran >= limit, f"{reason} after {ran:.0f} of {limit:.0f} s, suspensions left out")

    def _paused(self, since: float) -> float:
        board, total, begun = self._world.exchange, 0.0, None
        for x in board.decisions("stage"):
            if x.member == "Suspended":
                begun = x.received
            elif x.member == "Resumed" and begun is not None:
                total, begun = total + max(0.0, x.received - max(begun, since)), None
        return total + (self._world.now - max(begun, since) if begun is not None else 0.0)

    def _closed(
        self, d: Decision, at: Any, kind: str, expected: Sequence[str], floor: float | None = None
    ) -> None:
        """A set of silos is closed: with those only that sent, enough, and no other left out before its time."""
        world, board = self._world, self._world.exchange
        arrived = {s: e for s, e in board.said(kind, *at).items() if s in expected}
        chosen, roster = d.body["silos"], board.roster(d.enrolment)
        must(set(chosen) <= arrived.keys(), f"{d.kind} names a silo that was not asked or sent no {kind}")
        must(len(chosen) >= max(3, 2 * len(roster) // 3 + 1), f"{d.kind} with too few silos: {chosen}")
        begun = min((e.received for e in arrived.values()), default=None)
        begun = begun if begun is not None else floor
        timeout = world.round.quorum.straggler_timeout
        if begun is not None and world.now >= begun + timeout:
            return
        faulted = {f.sender for f in board.entries if f.kind == "fault" and f.enrolment == d.enrolment}
        for silo in set(expected) - set(chosen) - faulted:
            late = silo not in arrived or kind == "keys" or world.now - arrived[silo].received < SLACK
            if late and not world.was_away(silo, SLACK) and (silo not in arrived):
                raise Violation(
                    f"{d.kind} at {at} left {silo} out, which is there, before the straggler timeout"
                )

    # -------------------------------------------------------------- actions

    def created(self, made: Document) -> None:
        """An object was created by the hub."""
        if made["kind"] == "Job":
            self._job(made["metadata"]["name"])
        elif made["kind"] == "SiloTask":
            self._task(made["metadata"]["name"])
        elif made["kind"] == "Release":
            must(self._world.exchange.decisions("released"), "a Release before it was decided")

    def _job(self, name: str) -> None:
        world, board = self._world, self._world.exchange
        if name in self.jobs:
            lost = world.jobs.lost | {n for n in world.jobs.finished if not self._later(n)}
            lost |= {n for n in world.jobs.stuck if self._later_lost(n)}
            gone = name in lost and not self._outcome(name)
            must(gone, f"Job {name} created a second time")
        question = name.rsplit("-", 1)[0]
        same = [n for n in world.jobs.running() if n != name and n.rsplit("-", 1)[0] == question]
        # One whose pod never began is replaced before it is deleted, so that the restart is counted.
        running = [n for n in same if world.jobs.stuck.get(n, world.now) > world.now - START_WITHIN]
        must(not running, f"Job {name} created while {running} runs")
        self.jobs.append(name)
        if at := _coordinates(name):
            must(board.hub("survivors", *at), f"Job {name} before the survivors were decided")
        else:
            match = _KERNEL.fullmatch(name)
            must(
                match and board.hub("rows-closed", int(match["e"])), f"Job {name} before the rows were closed"
            )

    def _later(self, name: str) -> bool:
        """Whether a restart after this one was made: the hub has seen this one's end then."""
        question, restart = name.rsplit("-", 1)
        return any(
            n.startswith(f"{question}-") and int(n.rsplit("-", 1)[1]) > int(restart) for n in self.jobs
        )

    def _later_lost(self, name: str) -> bool:
        """Whether every restart after this one was made away with by somebody else, so that the hub cannot know of it."""
        question, restart = name.rsplit("-", 1)
        later = {
            n for n in self.jobs if n.startswith(f"{question}-") and int(n.rsplit("-", 1)[1]) > int(restart)
        }
        return bool(later) and later <= self._world.jobs.lost

    def _outcome(self, name: str) -> Entry | None:
        board = self._world.exchange
        if at := _coordinates(name):
            return board.hub("aggregate", *at) or board.hub("retry", *at) or board.hub("skip", *at)
        match = _KERNEL.fullmatch(name)
        return board.hub("rankings", int(match["e"])) if match else None

    def _task(self, name: str) -> None:
        board, match = self._world.exchange, _TASK.fullmatch(name)
        assert match is not None
        e, kind = int(match["e"]), match["kind"]
        must(board.decisions("computation"), f"task {name} before the computation was decided")
        must(e == 1 or board.hub("void", e - 1), f"task {name} before the enrolment before it was void")
        if kind != "enrol":
            must(board.hub("enrolled", e), f"task {name} before the enrolment stood")
        if kind == "encode":
            must(board.hub("stage", e, "Encoding"), f"task {name} before Encoding began")

    def tasking(self, task: SiloTask) -> None:
        """A task is about to be given to a silo."""
        names = {d["metadata"]["name"] for d in self._world.cluster.all("SiloTask")}
        must(
            task.metadata.name in names,
            f"task {task.metadata.name} given to a silo before its resource was there",
        )
        self._task(task.metadata.name)

    def deleting(self, document: Document) -> None:
        """The hub is about to delete something: a round whose time is over, or a Job whose question is settled."""
        if document["kind"] != "Job":
            return
        name, board = document["metadata"]["name"], self._world.exchange
        ended = board.decisions("released") or board.decisions("failed")
        replaced = name in self._world.jobs.stuck and self._later(name)
        must(ended or replaced or self._outcome(name), f"Job {name} deleted while its outcome is wanted")

    def dropping(self, digests: Sequence[str]) -> None:
        """Blobs are about to be deleted."""
        board = self._world.exchange
        if board.decisions("released") or board.decisions("failed"):
            return
        for x in board.entries:
            if x.kind in ("masked", "rows") and x.body["digest"].hex() in digests:
                must(
                    x.kind == "masked" and self._droppable(x),
                    f"the {x.kind} of {x.sender} at t={x.t} is needed yet",
                )

    def _droppable(self, x: Entry) -> bool:
        board, at = self._world.exchange, (x.enrolment, x.member, x.t, x.attempt)
        if board.hub("retry", *at) or board.hub("skip", *at):
            return True
        survivors = board.hub("survivors", *at)
        confirmed = survivors and set(survivors.body["silos"]) <= board.said("model", *at).keys()
        after = [
            y
            for y in board.entries
            if y.kind in ("advance", "skip") and (y.member, y.t) == (x.member, x.t + 1)
        ]
        encoding = board.hub("stage", x.enrolment, "Encoding")
        return bool(board.hub("advance", *at) and (confirmed or after or encoding))

    def publishing(self, digest: str) -> None:
        """A release is about to be kept."""
        released = self._world.exchange.decisions("released")
        must(released and released[0].body["digest"].hex() == digest, "published before it was released")

    # -------------------------------------------------------------- status

    def showing(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """The hub is about to write a status."""
        if kind != "FederationRound":
            return
        board, phase = self._world.exchange, status["phase"]
        reason = next(c["reason"] for c in status["conditions"] if c["type"] == "Succeeded")
        if self.terminal is not None:
            must(self.terminal == (phase, reason), f"{phase} {reason} after the round was {self.terminal}")
        if phase in TERMINAL:
            self.terminal = (phase, reason)
            stands = board.decisions("released") if phase == "Succeeded" else board.decisions("failed")
            must(stands, f"the status says {phase} before that was decided")
            return
        for wait in status["waitingFor"] if not self._world.over else ():
            self._wait(wait, phase)

    def _wait(self, wait: Mapping[str, Any], phase: str) -> None:
        board = self._world.exchange
        if wait["what"].startswith("job "):
            name = wait["what"].rpartition("(")[2].rstrip(")")
            must(name in self.jobs, f"the status says that {name} runs before it was created")
        elif wait["who"] in board.silos and phase != "Pending":
            given = [n for n in board.tasks if n.rsplit("-", 1)[0].endswith(f"-{wait['who']}")]
            must(given, f"the status waits for {wait['who']}, which was given no task")

    def settled(self, status: Mapping[str, Any], now: float, due: float) -> None:
        """The hub is at rest until `due`: whatever it waits for is stated, ends, and is not slept through."""
        if status["phase"] in TERMINAL:
            return
        must(status["waitingFor"], f"no stated wait in {status['phase']}")
        for wait in status["waitingFor"]:
            if "until" not in wait:
                resting = self._world.exchange.suspended or wait["who"] == "coordinator"
                must(resting, f"a wait without an end: {wait}")
                continue
            job = wait["what"].rpartition("(")[2].rstrip(")") if wait["what"].startswith("job ") else None
            must(
                job is None or job in self._world.jobs.running(),
                f"the status waits for {job}, which does not run",
            )
            until = seconds(wait["until"])
            must(until > now - 2.0, f"still waiting after its end: {wait}")
            must(
                due < until + 5.0 or due < now + 60.0,
                f"nobody looks when this ends, but {due - until:.0f} s later: {wait}",
            )


def _coordinates(job: str) -> tuple[int, str, int, int] | None:
    match = _AGGREGATE.fullmatch(job)
    return (int(match["e"]), match["member"], int(match["t"]), int(match["a"])) if match else None
