"""Silos in miniature: they answer by docs/reference/protocol.md, in whatever world has a board for them.

Cryptography is left out, order and loss are not: bodies carry what the planner looks at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fedgestalt_operator.api.round import FederationRound
from fedgestalt_operator.plan import BaseRelease, Entry, SiloState
from fedgestalt_operator.plan.types import TaskState

UID = "5f0c2d7e-1b1a-4c55-9d5e-0a1b2c3d4e5f"


def digest(*parts: object) -> bytes:
    """A 32-byte stand-in for hashes and digests."""
    return hashlib.sha256(repr(parts).encode()).digest()


def rows_body(silo: str, base: BaseRelease | None, h: bytes) -> dict[str, Any]:
    """What a silo says of its rows: one extractor and one epoch key for all, the base's where there is one to adopt."""
    sealed, check = digest("sealed"), digest("check", h)
    if base is not None:
        manifest = base.manifest
        sealed, check = (bytes.fromhex(x) for x in (manifest["bundle"]["digest"], manifest["epochCheck"]))
    counts = {"gallery": 3, "test": 1, "undiagnosed": 0}
    named = {"digest": digest("rows", silo), "bundle": digest("bundle"), "data": digest("data", silo)}
    return {**counts, **named, "sealed": sealed, "epoch_check": check}


# What happens to a message that a silo is about to post: it goes, or the silo dies before or after, or posts a fault
# of this reason instead, or holds it back for now.
Fate = str
POST, DIE_BEFORE, DIE_AFTER, HOLD, INCOMPLETE = "post", "die-before", "die-after", "hold", "incomplete"
Hook = Callable[["Silo", str, str, int, int], Fate]


class Surroundings(Protocol):
    """What silos see and touch: the round's board, their tasks, the clock."""

    now: float
    round: FederationRound
    silos: dict[str, SiloState]
    tasks: dict[str, TaskState]
    hook: Hook

    @property
    def adopting(self) -> BaseRelease | None: ...

    @property
    def enrolment(self) -> int: ...

    @property
    def suspended(self) -> bool: ...

    def roster(self, e: int) -> list[str]: ...

    def hub(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> Entry | None: ...

    def said(self, kind: str, e: int, member: str = "", t: int = 0, a: int = 0) -> dict[str, Entry]: ...

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
    ) -> None: ...


@dataclass
class Silo:
    """One silo. `recorded` is durable: (member, t) -> survivor set."""

    name: str
    world: Surroundings
    alive: bool = True
    train_seconds: float = 5.0
    recorded: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    begun: dict[tuple[str, int], float] = field(default_factory=dict)

    def act(self) -> None:
        """Post everything that is this silo's move."""
        if not self.alive:
            return
        self.world.silos[self.name] = replace(self.world.silos[self.name], last_heard=self.world.now)
        e = self.world.enrolment
        if self._task("enrol", e) and not self.world.hub("enrolled", e):
            self._enrol(e)
        if (
            self.alive
            and self.world.hub("enrolled", e)
            and self.name in self.world.hub("enrolled", e).body["silos"]
        ):
            self._work(e)

    def _task(self, kind: str, e: int) -> bool:
        return f"fg-5f0c2d7e-{kind}-{self.name}-{e}" in self.world.tasks

    def _enrol(self, e: int) -> None:
        w = self.world
        self._post("enrol", e, body={"weight": 10, "identity": digest(self.name)})
        roster = w.hub("roster", e)
        if not self.alive or roster is None or self.name not in roster.body["silos"]:
            return
        h = digest("h", e, *roster.body["silos"])
        for kind, before in (("endorse", None), ("opening", "endorse"), ("confirm", "opening")):
            if before is not None and len(w.said(before, e)) < len(roster.body["silos"]):
                return
            self._post(kind, e, body={"h": h} if kind == "endorse" else {"x": b""})
            if not self.alive:
                return

    def _work(self, e: int) -> None:
        w = self.world
        model = digest("start")
        if self._task("train", e):
            for member in w.round.trainable:
                model = digest("start", member)
                for t in range(1, w.round.communication_rounds + 1):
                    ended = self._aggregation(e, member, t, model)
                    if not self.alive or ended is None:
                        return
                    model = ended
        elif w.adopting is not None:
            self._admit(e, w.adopting)
        if not self.alive or not w.hub("stage", e, "Encoding"):
            return
        if self._task("encode", e):
            self._post("rows", e, body=rows_body(self.name, w.adopting, digest(e)))
        if (
            self.alive
            and w.adopting is None
            and w.hub("rankings", e)
            and self._aggregation(e, "evaluation", 1, b"\0" * 32)
            and self.alive
        ):
            self._post("score", e, body={"table": b"{}"})
        manifest = w.hub("manifest", e)
        if self.alive and manifest:
            self._post("sign", e, body={"digest": manifest.body["digest"]})

    def _admit(self, e: int, base: BaseRelease) -> None:
        if self.name not in base.silos:
            return
        self._post("admit", e, body={"epoch": b"", "newcomers": {}})
        if self.alive and set(base.silos) <= self.world.said("admit", e).keys():
            self._post("welcome", e, body={"sealed": {}})

    def _aggregation(self, e: int, member: str, t: int, model: bytes) -> bytes | None:
        """Play (member, t); the model hash after it, or None while it is open."""
        w, a = self.world, 1
        while w.hub("retry", e, member, t, a):
            a += 1
        at = (e, member, t, a)
        if w.hub("skip", *at):
            return model
        self.begun.setdefault((member, t), w.now)
        if w.suspended and not w.said("keys", *at) and a == 1:
            return None
        self._post("keys", *at, body={"model": model, "public": b""})
        steps = (("keyset", "shares"), ("senders", "masked"))
        for decision, answer in steps:
            decided = w.hub(decision, *at)
            if not self.alive or decided is None:
                return None
            if self.name in decided.body["silos"]:
                if answer == "masked" and w.now < self.begun[(member, t)] + self.train_seconds:
                    return None
                body = (
                    {"digest": digest(*at, self.name), "length": 4} if answer == "masked" else {"sealed": {}}
                )
                self._post(answer, *at, body=body)
        survivors = w.hub("survivors", *at)
        if not self.alive or survivors is None:
            return None
        chosen = tuple(survivors.body["silos"])
        if self.name in chosen:
            if self.recorded.setdefault((member, t), chosen) != chosen:
                self._post("fault", *at, body={"reason": "SurvivorSetBurnt"})
                return None
            self._post("accept", *at, body={"silos": chosen})
            if self.alive and len(w.said("accept", *at)) >= 2 * len(w.roster(e)) // 3 + 1:
                self._post("reveal", *at, body={})
        if not self.alive or w.hub("aggregate", *at) is None:
            return None
        after = digest(model, chosen)
        self._post("model", *at, body={"hash": after})
        advance = w.hub("advance", *at)
        return after if advance is not None and self.alive else None

    def _post(
        self,
        kind: str,
        e: int,
        member: str = "",
        t: int = 0,
        a: int = 0,
        *,
        body: dict[str, Any] | None = None,
    ) -> None:
        if not self.alive or self.name in self.world.said(kind, e, member, t, a):
            return
        fate = self.world.hook(self, kind, member, t, a)
        if fate == DIE_BEFORE:
            self.alive = False
        elif fate in (POST, DIE_AFTER, INCOMPLETE):
            self.world.append(self.name, kind, e, member, t, a, body or {}, complete=fate != INCOMPLETE)
            self.alive = fate != DIE_AFTER
        elif fate != HOLD and self.name not in self.world.said("fault", e, member, t, a):
            self.world.append(self.name, "fault", e, member, t, a, {"reason": fate})
