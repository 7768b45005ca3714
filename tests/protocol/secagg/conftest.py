"""A federation in memory: a board, silos with stores that survive their process, and a hub of a few lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.secagg.aggregate import Coordinates, aggregate
from fedgestalt.secagg.computation import Computation, need, quorum
from fedgestalt.secagg.effects import Advanced, Fetch, Masked, Post, Retry, Skipped, Summed
from fedgestalt.secagg.errors import AggregateError
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.messages import Message, Slot, sign
from fedgestalt.secagg.session import SiloSession

ROUND = "0192-test"
NAMES = ("aachen", "berlin", "coburg", "dresden", "essen", "fulda", "goslar")
START = hashlib.sha256(b"start").digest()


def counter_rng(seed: str) -> Callable[[int], bytes]:
    """Bytes that repeat from run to run, different at each call."""
    calls = iter(range(1 << 30))
    return lambda size: hashlib.shake_256(f"{seed}/{next(calls)}".encode()).digest(size)


class MemoryStore:
    """What the agent's disk holds."""

    def __init__(self):
        self.entries: dict[str, bytes] = {}

    def get(self, key):
        return self.entries.get(key)

    def put(self, key, value):
        if self.entries.setdefault(key, value) != value:
            raise RuntimeError(f"{key} is written once")

    def delete(self, prefix):
        self.entries = {k: v for k, v in self.entries.items() if not k.startswith(prefix)}


class Board:
    """Slots written once, in order; everything passes through the wire format."""

    def __init__(self):
        self.messages: list[Message] = []
        self.blobs: dict[str, bytes] = {}
        self._slots: dict[Slot, bytes] = {}

    def post(self, message: Message):
        data = message.encode()
        if message.slot in self._slots:
            assert self._slots[message.slot] == data, f"{message.slot} was written with other bytes"
            return
        self._slots[message.slot] = data
        self.messages.append(Message.decode(data))

    def find(self, kind, at, enrolment):
        return {
            m.slot.sender: m
            for m in self.messages
            if (m.slot.kind, m.slot.enrolment, (m.slot.member, m.slot.t, m.slot.attempt))
            == (kind, enrolment, at)
        }


class KilledError(Exception):
    """The process of a silo ends here."""


class Silo:
    """An agent: what is on disk outlives ``restart``, the session does not.

    It keeps no outbox, so the board sees whether a restarted session makes the same bytes.
    """

    def __init__(self, name, federation):
        self.name, self.federation = name, federation
        self.identity = Identity.generate(counter_rng(f"identity/{name}"))
        self.store, self.spool = MemoryStore(), {}
        self.alive = True
        self.die: tuple[Kind, str] | None = None
        self.crash_at: int | None = None
        self.log: list = []
        self.session: SiloSession | None = None
        self._cursor = 0
        self._restarts = 0

    def enrol(self, enrolment):
        """A process begins, the first one or after a kill."""
        self._restarts += 1
        self.session = SiloSession(
            self.name,
            self.identity,
            self.federation.computation,
            enrolment,
            self.federation.weights[self.name],
            self.store,
            hub_key=self.federation.hub_key.public,
            not_after=2_000_000_000,
            now=1_900_000_000,
            rng=counter_rng(f"{self.federation.seed}/{self.name}/{enrolment}/{self._restarts}"),
        )
        self._cursor = 0
        self.sums: dict[tuple[str, int], np.ndarray] = {}
        self.models: dict[str, tuple[int, bytes]] = {}
        self.handle(self.session.open())

    def restart(self):
        self.alive = True
        self.enrol(self.session.enrolment_number)

    def pump(self) -> bool:
        """Take what is new on the board; whether anything was."""
        moved = False
        try:
            while self.alive and self._cursor < len(self.federation.board.messages):
                index, moved = self._cursor, True
                self._cursor += 1
                effects = self.session.on(self.federation.board.messages[index])
                if index == self.crash_at:
                    # KilledError after the session answered and before anything was done about it.
                    self.crash_at = None
                    self.restart()
                    continue
                self.handle(effects)
            if self.alive and self.session.enrolled:
                self.work()
        except KilledError:
            self.alive = False
        return moved

    def work(self):
        """The trainer, alive as long as the agent: begins and submits, again and again, as a trainer does."""
        for member, t in self.federation.tasks:
            done, model = self.models.get(member, (0, START))
            if t == done + 1:
                self.handle(self.session.begin(member, t, model))
                self.submit(member, t)

    def submit(self, member, t):
        scale = self.session.scale(member, t)
        vector = self.federation.vector(self.name, member, t, scale)
        announced = self.session.announced(member, t)
        if announced is not None and announced in self.federation.board.blobs:
            return
        self.handle(self.session.submit(member, t, vector, scale=scale))

    def handle(self, effects):
        for effect in effects:
            self.log.append(effect)
            match effect:
                case Post(message):
                    self._post(message)
                case Masked(message, data):
                    self._masked(message, data)
                case Fetch(digest, _, _, _):
                    if digest in self.federation.board.blobs:
                        self.handle(self.session.on_blob(digest, self.federation.board.blobs[digest]))
                case Summed(member, t, _, total, survivors):
                    self.sums[member, t] = total
                    self.survivors = survivors
                    self.handle(self.session.confirm_model(member, t, self._step(member, t, total)))
                case Advanced(member, t, model):
                    self.models[member] = (t, model)
                case Skipped(member, t):
                    self.models[member] = (t, self.models.get(member, (0, START))[1])
                case Retry(member, t, _, _):
                    self.submit(member, t)

    def _masked(self, message, data):
        digest = message.blobs[0]
        if data is not None:
            self.spool[digest] = data
        elif digest not in self.spool:
            return
        self._post(message)
        self.federation.board.blobs[digest] = self.spool[digest]

    def _post(self, message):
        kind = message.slot.kind
        if self.die == (kind, "before"):
            raise KilledError
        self.federation.board.post(message)
        if self.die == (kind, "after") and kind is not Kind.MASKED:
            raise KilledError

    def _step(self, member, t, total):
        before = self.models.get(member, (0, START))[1]
        return hashlib.sha256(before + total.tobytes()).digest()


class Federation:
    """A hub's decisions, made as soon as all who live have spoken."""

    def __init__(self, n=4, *, min_silos=3, size=33, seed="s", rounds=1, member="r50"):
        self.names, self.seed, self.size, self.enrolment = NAMES[:n], seed, size, 1
        self.board = Board()
        self.hub_key = Identity.generate(counter_rng("hub"))
        self.weights = {name: (3, 2, 6, 1, 12, 4, 8)[i] for i, name in enumerate(self.names)}
        self.tasks = [(member, t) for t in range(1, rounds + 1)]
        self.silos = {name: Silo(name, self) for name in self.names}
        document = {
            "round": ROUND,
            "newEpoch": True,
            "silos": {name: silo.identity.public.hex() for name, silo in self.silos.items()},
            "spec": {"quorum": {"minSilos": min_silos}},
        }
        self.computation = Computation.parse(json.dumps(document).encode())
        self.vectors: dict = {}
        self._before_advance = lambda: None

    @property
    def tau(self):
        return quorum(len(self.roster))

    @property
    def need(self):
        return need(len(self.roster), self.computation.min_silos)

    @property
    def roster(self):
        found = self.board.find(Kind.ROSTER, ("", 0, 0), self.enrolment)
        return found["hub"].body["silos"] if found else []

    @property
    def live(self):
        return [silo for silo in self.silos.values() if silo.alive]

    def vector(self, name, member, t, scale=1):
        if (name, member, t) in self.vectors:
            return self.vectors[name, member, t] // np.uint32(scale)
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}/{member}/{t}".encode()).digest()[:8], "big")
        values = np.random.default_rng(seed).integers(-(1 << 28), 1 << 28, self.size)
        return (values // scale).astype(np.int32).view(np.uint32)

    def expected(self, member, t, survivors, scale=1):
        return sum(self.vector(name, member, t, scale).view(np.int32).astype(np.int64) for name in survivors)

    def pump(self):
        while sum(silo.pump() for silo in self.live):
            pass

    def decide(self, kind, body, at=("", 0, 0)):
        slot = Slot(ROUND, self.enrolment, *at, kind, "hub")
        self.board.post(sign(slot, body, (), self.hub_key))
        self.pump()

    def posted(self, kind, at=("", 0, 0)):
        self.pump()
        return self.board.find(kind, at, self.enrolment)

    def enrol(self):
        """One attempt; whether it stands."""
        for silo in self.live:
            try:
                silo.enrol(self.enrolment)
            except KilledError:
                silo.alive = False
        names = sorted(self.posted(Kind.ENROL))
        if len(names) < self.computation.need:
            return self.void("too few")
        self.decide(Kind.ROSTER, {"silos": names})
        for kind in (Kind.ENDORSE, Kind.OPENING, Kind.CONFIRM):
            if sorted(self.posted(kind)) != names or self.posted(Kind.FAULT):
                return self.void("lost")
        h = next(iter(self.posted(Kind.ENDORSE).values())).body["h"]
        self.decide(Kind.ENROLLED, {"h": h, "silos": names})
        return True

    def void(self, reason):
        self.decide(Kind.VOID, {"reason": reason, "lost": []})
        self.enrolment += 1
        return False

    def sum(self, member="r50", t=1, tries=5, before_advance=lambda: None):
        """Aggregate (member, t); the survivors, or None if the t was skipped or cannot go on."""
        self._before_advance = before_advance
        pinned = None
        for attempt in range(1, tries + 1):
            outcome, pinned = self._try((member, t, attempt), pinned)
            if outcome != "retry":
                return outcome
            if pinned is not None and not set(pinned) <= {silo.name for silo in self.live}:
                self.decide(Kind.SKIP, {"reason": "SurvivorSetBurnt"}, (member, t, attempt))
                return None
            if len(self.live) < self.need:
                return None
            self.decide(Kind.RETRY, {"reason": "again", "scale": 1}, (member, t, attempt))
        return None

    def _try(self, at, pinned):
        for gathered, decision in (
            (Kind.KEYS, Kind.KEYSET),
            (Kind.SHARES, Kind.SENDERS),
            (Kind.MASKED, Kind.SURVIVORS),
        ):
            decided = self.posted(decision, at)
            names = (
                decided["hub"].body["silos"]
                if decided
                else sorted(
                    name
                    for name, message in self.posted(gathered, at).items()
                    if all(digest in self.board.blobs for digest in message.blobs)
                )
            )
            if len(names) < self.need or (pinned is not None and not set(pinned) <= set(names)):
                return "retry", pinned
            names = pinned or names
            self.decide(decision, {"silos": names}, at)
        pinned = names
        try:
            blob = self.aggregate(at)
        except AggregateError:
            return "retry", pinned
        digest = hashlib.sha256(blob)
        self.board.blobs[digest.hexdigest()] = blob
        self.decide(Kind.AGGREGATE, {"digest": digest.digest(), "silos": names}, at)
        hashes = {name: m.body["hash"] for name, m in self.posted(Kind.MODEL, at).items()}
        if len(hashes) < self.tau or len(set(hashes.values())) != 1:
            return "retry", pinned
        self._before_advance()
        self.decide(Kind.ADVANCE, {"hash": next(iter(hashes.values())), "silos": sorted(hashes)}, at)
        return tuple(names), pinned

    def aggregate(self, at):
        return aggregate(
            self.board.messages,
            self.board.blobs.__getitem__,
            Coordinates(self.enrolment, *at),
            computation=self.computation,
            hub_key=self.hub_key.public,
        )

    def effects(self, name, kind):
        return [effect for effect in self.silos[name].log if isinstance(effect, kind)]


@pytest.fixture
def make_federation():
    """Makes a federation; keyword arguments as of Federation."""
    return Federation
