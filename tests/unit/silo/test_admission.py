"""Admission at a silo: no key before all have said yes in this attempt, and a restart in between loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fedgestalt.crypto.keys import Identity, Purpose, derive
from fedgestalt.secagg.messages import Kind, Message, Slot, verify
from fedgestalt.silo.admission import Admission, decline
from fedgestalt.silo.base import Base
from fedgestalt.silo.outbox import Outbox
from fedgestalt.silo.spool import Spool
from fedgestalt.silo.store import DiskStore
from fedgestalt.silo.vault import EpochVault
from fedgestalt.silo.workplace import Workplace

EPOCH, KEY = b"e" * 32, b"k" * 32
MEMBERS, NEWCOMER = ("east", "north", "west"), "centre"
IDENTITIES = {name: name.encode().ljust(32) for name in (*MEMBERS, NEWCOMER)}


@dataclass
class Part:
    """What the admission needs of a round: posts are kept, sealing is readable."""

    name: str
    said: list[tuple[Kind, Mapping[str, Any]]] = field(default_factory=list)
    enrolment: int = 1

    @property
    def session(self) -> Any:
        return SimpleNamespace(
            computation=SimpleNamespace(silos=IDENTITIES),
            roster=tuple(sorted(IDENTITIES)),
            message=lambda kind, _: SimpleNamespace(slot=self.slot(kind, self.name)),
            seal=lambda text, recipient, _: recipient.encode() + b"|" + text,
            unseal=lambda sealed, _: sealed.partition(b"|")[2],
        )

    def slot(self, kind: Kind, sender: str) -> Slot:
        return Slot("round", self.enrolment, "", 0, 0, kind, sender)

    def post(self, kind: Kind, body: Mapping[str, Any]) -> None:
        self.said.append((kind, body))


def base(*, member: bool) -> Base:
    check = derive(KEY, salt=EPOCH, purpose=Purpose.EPOCH_CHECK)
    manifest = {
        "epoch": EPOCH.hex(),
        "epochCheck": check.hex(),
        "rows": {name: {} for name in MEMBERS},
        "roster": {name: {} for name in MEMBERS},
    }
    return Base("ab" * 32, manifest, Path(), member)


def admit(part: Part, sender: str, newcomers: Mapping[str, bytes] | None = None) -> Message:
    body = {"epoch": EPOCH, "newcomers": newcomers or {NEWCOMER: IDENTITIES[NEWCOMER]}}
    return Message(part.slot(Kind.ADMIT, sender), body)


@pytest.fixture
def vault(tmp_path: Path) -> EpochVault:
    return EpochVault(tmp_path / "epochs.sqlite")


def test_the_key_leaves_once_every_silo_of_the_epoch_admitted_the_same_newcomers(vault: EpochVault) -> None:
    vault.put(EPOCH, KEY)
    part = Part("east")
    admission = Admission(part, base(member=True), vault, lambda: None)  # type: ignore[arg-type]
    admission.enrolled()
    for sender in ("east", "north"):
        admission.on_message(admit(part, sender))
    admission.on_message(admit(part, "west", {"another": b"x" * 32}))
    admission.on_message(admit(part, NEWCOMER))
    assert [kind for kind, _ in part.said] == [Kind.ADMIT]
    admission.on_message(admit(part, "west"))
    assert part.said[-1] == (Kind.WELCOME, {"sealed": {NEWCOMER: b"centre|" + KEY}})


def test_what_was_admitted_in_an_earlier_attempt_does_not_count(vault: EpochVault) -> None:
    vault.put(EPOCH, KEY)
    part = Part("east")
    admission = Admission(part, base(member=True), vault, lambda: None)  # type: ignore[arg-type]
    admission.enrolled()
    for sender in ("north", "west"):
        admission.on_message(admit(part, sender))
    part.enrolment = 2
    admission.enrolled()
    admission.on_message(admit(part, "east"))
    assert Kind.WELCOME not in [kind for kind, _ in part.said]


def test_a_newcomer_that_was_killed_before_it_opened_the_release_opens_it_afterwards(
    vault: EpochVault,
) -> None:
    part, opened = Part(NEWCOMER), list[int]()
    welcome = Message(part.slot(Kind.WELCOME, "east"), {"sealed": {NEWCOMER: b"centre|" + KEY}})
    for restart in range(2):
        admission = Admission(part, base(member=False), vault, lambda r=restart: opened.append(r))  # type: ignore[arg-type,misc]
        admission.on_message(welcome)
    assert opened == [0, 1]
    assert vault.get(EPOCH) == KEY


def test_a_key_that_is_not_the_releases_is_not_kept(vault: EpochVault) -> None:
    part, opened = Part(NEWCOMER), list[int]()
    admission = Admission(part, base(member=False), vault, lambda: opened.append(1))  # type: ignore[arg-type]
    for sender, key in (("east", b"x" * 32), (NEWCOMER, KEY)):
        sealed = {NEWCOMER: b"centre|" + key}
        admission.on_message(Message(part.slot(Kind.WELCOME, sender), {"sealed": sealed}))
    assert not opened
    assert vault.get(EPOCH) is None


def computation(operation: str = "Adopt") -> dict[str, Any]:
    return {"base": {"silos": list(MEMBERS)}, "spec": {"operation": operation}}


def test_a_refusal_is_signed_by_the_identity_and_does_not_say_which_rule_was_broken(tmp_path: Path) -> None:
    identity, posted = Identity.generate(), list[bytes]()
    board = SimpleNamespace(post=posted.append)
    store = DiskStore(tmp_path / "state.sqlite")
    outbox = Outbox(board, store, Spool(tmp_path / "spool"))  # type: ignore[arg-type]

    def at(name: str) -> Workplace:
        made = SimpleNamespace(uid="round", site=SimpleNamespace(name=name), identity=identity, outbox=outbox)
        return cast("Workplace", made)

    decline(at("west"), computation("Train"), 1)
    decline(at("west"), {"spec": {"operation": "Train"}}, 1)
    decline(at(NEWCOMER), computation(), 1)
    assert posted == []
    decline(at("west"), computation(), 2)
    decline(at("west"), computation(), 2)
    (message,) = map(Message.decode, posted)
    verify(message, identity.public)
    assert message.slot == Slot("round", 2, "", 0, 0, Kind.FAULT, "west")
    assert dict(message.body) == {
        "reason": "GrantMismatch",
        "detail": "no grant of this site fits the round",
    }
    store.close()
