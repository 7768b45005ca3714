"""A silo whose trainer is still aligning photos when the others have finished a communication round comes in later."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.protocol.secagg.conftest import START, Federation

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.errors import UnreachableError
from fedgestalt.secagg.kinds import Kind
from fedgestalt.secagg.messages import Message, Slot, sign
from fedgestalt.silo.models import GlobalModel, ModelStore
from fedgestalt.silo.outbox import Outbox
from fedgestalt.silo.part import DELEGATION_SECONDS, RoundPart
from fedgestalt.silo.spool import Spool
from fedgestalt.silo.store import DiskStore
from fedgestalt.training.config import Member, TrainingConfig

NOW = 1_900_000_000
MEMBER = "r50"
TENSORS = {"w": np.zeros(3, np.float32)}


class Exchange:
    """Takes what the silo posts unless it is away, and has the federation's blobs."""

    def __init__(self, federation: Federation) -> None:
        self.federation, self.away = federation, False
        self.posted: list[Message] = []

    def post(self, data: bytes) -> None:
        if self.away:
            raise UnreachableError("away")
        self.posted.append(Message.decode(data))

    def upload(self, *_: object) -> None:
        """Nobody fetches it here."""

    def download(self, round_uid: str, digest: str) -> bytes:
        return bytes(self.federation.board.blobs[digest])


class Agreed(GlobalModel):
    """A model of the hash that the others' simulated steps come to."""

    @property
    def hash(self) -> str:
        return bytes(self.strategy["hash"].astype(np.uint8)).hex()


class Maths:
    """The server step as the simulated silos do it: hashes in place of models."""

    def step(self, session: Any, effect: Any, current: GlobalModel, scale: int) -> GlobalModel:
        before = START if effect.t == 1 else bytes.fromhex(current.hash)
        digest = hashlib.sha256(before + effect.total.tobytes()).digest()
        hashed = np.frombuffer(digest, np.uint8).astype(np.float64)
        return Agreed(effect.t, current.tensors, current.initial_hash, {"hash": hashed})


class Late:
    """Dresden: enrolled with three others, but its trainer has not derived the start yet."""

    def __init__(self, folder: Path, *, rounds: int = 2) -> None:
        self.federation = Federation(4, min_silos=3, rounds=rounds)
        dresden = self.federation.silos["dresden"]
        dresden.work = lambda: None
        assert self.federation.enrol()
        dresden.alive = False
        self.exchange: Any = Exchange(self.federation)
        self.training = TrainingConfig((Member(MEMBER, "smallnet"),), communication_rounds=rounds)
        self.folder, self.identity, self.store = folder, dresden.identity, dresden.store
        self.part = self.started()

    def started(self) -> RoundPart:
        part = RoundPart(
            name="dresden",
            identity=self.identity,
            computation=self.federation.computation,
            training=self.training,
            weight=self.federation.weights["dresden"],
            store=self.store,
            models=ModelStore(self.folder / "models"),
            outbox=Outbox(self.exchange, DiskStore(self.folder / "out.sqlite"), Spool(self.folder / "spool")),
            board=self.exchange,
            hub_key=self.federation.hub_key.public,
            # As the simulated silos have it: the delegation is in the message that stands on the board.
            began=lambda attempt: 2_000_000_000 - DELEGATION_SECONDS,
        )
        part.course._maths = Maths()  # type: ignore[assignment]
        return part

    def hear(self) -> None:
        self.part.enrol(1)
        for message in self.federation.board.messages:
            self.part.on_message(message)

    def model(self) -> GlobalModel:
        with self.part.lock:
            return self.part.course.model(MEMBER)


@pytest.fixture
def late(tmp_path: Path) -> Late:
    return Late(tmp_path)


def test_it_catches_up_with_the_models_that_the_others_agreed_on(late: Late) -> None:
    survivors = [late.federation.sum(MEMBER, t) for t in (1, 2)]
    assert survivors == [("aachen", "berlin", "coburg")] * 2
    late.hear()
    late.part.course.initial(MEMBER, TENSORS)
    agreed = late.federation.silos["aachen"].models[MEMBER]
    assert (late.model().t, bytes.fromhex(late.model().hash)) == agreed
    assert late.part.course.complete
    assert late.part.broken is None


def test_what_comes_after_is_heard_at_once_again(late: Late) -> None:
    late.federation.sum(MEMBER, 1)
    late.hear()
    heard = len(late.federation.board.messages)
    late.part.course.initial(MEMBER, TENSORS)
    assert late.model().t == 1
    late.federation.sum(MEMBER, 2)
    for message in late.federation.board.messages[heard:]:
        late.part.on_message(message)
    assert late.model().t == 2


def test_a_round_that_was_skipped_meanwhile_is_skipped_here_too(late: Late) -> None:
    late.federation.decide(Kind.SKIP, {"reason": "SurvivorSetBurnt"}, (MEMBER, 1, 1))
    late.hear()
    late.part.course.initial(MEMBER, TENSORS)
    assert (late.model().t, late.part.course.take(MEMBER, 1).skipped) == (1, True)


def test_only_the_hub_ends_a_round(late: Late) -> None:
    late.hear()
    slot = Slot(late.part.session.computation.round, 1, "", 0, 0, Kind.FAILED, "hub")
    body = {"reason": "Deleted", "message": "the round was deleted"}
    late.part.on_message(sign(slot, body, (), Identity.generate()))
    assert late.part.ended == ""
    late.part.on_message(sign(slot, body, (), late.federation.hub_key))
    assert late.part.ended == "the round failed: Deleted"


def test_what_a_trainers_thread_could_not_send_ends_the_agent_which_sends_it_after_its_restart(
    late: Late,
) -> None:
    late.hear()
    late.exchange.away = True
    with pytest.raises(UnreachableError):
        late.part.course.initial(MEMBER, TENSORS)
    assert isinstance(late.part.broken, UnreachableError)
    late.exchange.away = False
    late.exchange.posted.clear()
    late.part = late.started()
    late.hear()
    late.part.course.initial(MEMBER, TENSORS)
    assert [m.slot.t for m in late.exchange.posted if m.slot.kind is Kind.KEYS] == [1]
