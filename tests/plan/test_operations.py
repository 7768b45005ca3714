"""Adopt, Rotate and Train on a release: who may take part, in which order, and what the new release says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan import BaseRelease, EnsureTask, plan
from fedgestalt_operator.plan.context import Context
from fedgestalt_operator.plan.releases import build_manifest

from .simulation import DIE_BEFORE, HOLD, POST, World, digest, make_round, reason

BASE = digest("base").hex()


def base(silos: int) -> BaseRelease:
    names = [f"silo-{i:02d}" for i in range(silos)]
    manifest = {
        "epoch": digest("epoch").hex(),
        "epochCheck": digest("base check").hex(),
        "bundle": {"digest": digest("base sealed").hex(), "plain": f"sha256:{digest('bundle').hex()}"},
        "roster": {name: {"weight": 12, "identity": digest(name).hex()} for name in names},
        "rows": {name: {"gallery": 9, "test": 2, "undiagnosed": 1, "digest": "00"} for name in names},
        "members": [{"name": "m0", "trainable": True, "model": digest("m").hex(), "rounds": []}],
    }
    training = {"members": [{"name": "m0", "trainable": True}], "communicationRounds": 2}
    return BaseRelease(BASE, manifest, {"spec": {"training": training, "vocabulary": {"name": "v"}}})


def world(operation: Operation, n: int, of_epoch: int, **changes: Any) -> World:
    spec = {
        "quorum": {"minSilos": 3, "stragglerTimeout": 60},
        "operation": operation.value,
        "base": {"release": "first", "digest": f"sha256:{BASE}"},
    }
    rounds = {"members": 1} if operation is Operation.TRAIN else {}
    made = make_round(n, **rounds, operation=operation, spec=spec)
    if operation is not Operation.TRAIN:
        made = replace(made, members=(), communication_rounds=0)
    return World(made, base=base(of_epoch), **changes)


def manifest(w: World) -> dict[str, Any]:
    built: dict[str, Any] = json.loads(build_manifest(Context(w.round, w.observed, w.now)))
    return built


def test_an_adopt_round_admits_seals_encodes_the_newcomer_alone_and_releases() -> None:
    w = world(Operation.ADOPT, 5, 4)
    assert reason(w.run()) == "Released"
    order = [e.kind for e in w.entries]
    assert order.index("welcome") > max(i for i, kind in enumerate(order) if kind == "admit")
    assert {e.sender for e in w.entries if e.kind == "rows"} == {"silo-04"}
    assert not [e for e in w.entries if e.kind in ("keys", "score")], "nothing is trained or summed"
    told = manifest(w)
    assert told["epoch"] == digest("epoch").hex()
    assert told["parents"] == [BASE]
    assert set(told["rows"]) == {f"silo-{i:02d}" for i in range(5)}
    assert told["rows"]["silo-00"]["gallery"] == 9
    assert told["members"][0]["model"] == digest("m").hex()


def test_no_key_is_sealed_before_all_members_admitted_the_newcomer() -> None:
    def hook(silo: Any, kind: str, member: str, t: int, a: int) -> str:
        return DIE_BEFORE if (silo.name, kind) == ("silo-02", "admit") else POST

    w = world(Operation.ADOPT, 5, 4, hook=hook)
    assert reason(w.run()) == "QuorumLost"
    assert not w.said("welcome", 1)


def refuse(w: World, silo: str) -> None:
    w.append(silo, "fault", w.enrolment, "", 0, 0, {"reason": "GrantMismatch", "detail": ""})


def test_one_site_whose_grant_does_not_fit_keeps_the_newcomer_out() -> None:
    w = world(Operation.ADOPT, 5, 4)
    w.settle()
    refuse(w, "silo-01")
    w.agents["silo-01"].alive = False
    status = w.run()
    assert reason(status) == "PeerRefused"
    assert "silo-01" in status["conditions"][0]["message"]


def test_a_newcomer_cannot_refuse_itself() -> None:
    w = world(Operation.ADOPT, 5, 4)
    w.settle()
    refuse(w, "silo-04")
    w.agents["silo-04"].alive = False
    assert reason(w.run()) == "QuorumNotReached"


def test_what_nobody_signed_is_no_refusal() -> None:
    """A proxy that opens TLS can write a task's status, and cannot sign for the silo."""
    w = world(Operation.ADOPT, 5, 4)
    w.settle()
    name = next(n for n in w.tasks if "silo-01" in n)
    w.tasks[name] = replace(w.tasks[name], phase=TaskPhase.FAILED, reason="GrantMismatch")
    w.agents["silo-01"].alive = False
    w.now += 100
    waits = {wait["who"]: wait for wait in w.settle().status["waitingFor"]}
    assert waits["silo-01"]["what"] == "enrol (GrantMismatch)"
    assert reason(w.run()) == "QuorumNotReached"


def silent(name: str, kind: str) -> Callable[..., str]:
    return lambda silo, said, *_: HOLD if (silo.name, said) == (name, kind) else POST


def test_a_silo_that_is_silent_when_it_should_admit_is_waited_for_and_not_called_a_refusal() -> None:
    w = world(Operation.ADOPT, 5, 4, hook=silent("silo-02", "admit"))
    while len(w.said("admit", 1)) < 3:
        w.tick()
    [wait] = w.settle().status["waitingFor"]
    assert (wait["who"], wait["what"]) == ("silo-02", "admit the newcomers")
    assert wait["until"]
    assert wait["then"] == "Failed: QuorumLost"
    status = w.run()
    assert reason(status) == "QuorumLost"
    assert "silo-02 (silent)" in status["conditions"][0]["message"]
    assert not w.said("welcome", 1)


def test_a_silo_that_is_lost_when_it_should_admit_may_come_back_in_time() -> None:
    w = world(Operation.ADOPT, 5, 4, hook=silent("silo-02", "admit"))
    while len(w.said("admit", 1)) < 3:
        w.tick()
    w.tick(30.0)
    w.hook = lambda *_: POST
    assert reason(w.run()) == "Released"


def test_a_silo_that_says_that_it_cannot_admit_is_not_waited_for() -> None:
    w = world(
        Operation.ADOPT,
        5,
        4,
        hook=lambda silo, kind, *_: "DataInvalid" if kind == "admit" and silo.name == "silo-02" else POST,
    )
    while not any(e.kind == "fault" for e in w.entries):
        w.tick()
    began = w.now
    status = w.run()
    assert reason(status) == "QuorumLost"
    assert "silo-02 (DataInvalid)" in status["conditions"][0]["message"]
    assert w.now - began < 30


def test_a_refusal_after_the_enrolment_stood_is_one_still() -> None:
    w = world(
        Operation.ADOPT,
        5,
        4,
        hook=lambda silo, kind, *_: "GrantMismatch" if kind == "admit" and silo.name == "silo-02" else POST,
    )
    assert reason(w.run()) == "PeerRefused"


def test_keys_that_nobody_seals_lose_the_quorum_after_a_stated_wait() -> None:
    w = world(Operation.ADOPT, 5, 4, hook=lambda silo, kind, *_: HOLD if kind == "welcome" else POST)
    while len(w.said("admit", 1)) < 4:
        w.tick()
    waits = w.settle().status["waitingFor"]
    assert {wait["what"] for wait in waits} == {"seal the epoch's keys"}
    assert {wait["then"] for wait in waits} == {"Failed: QuorumLost"}
    assert reason(w.run()) == "QuorumLost"


@pytest.mark.parametrize(
    ("operation", "n", "of_epoch", "named"),
    [
        (Operation.ADOPT, 4, 4, "needs a newcomer"),
        (Operation.ADOPT, 3, 4, "every silo"),
        (Operation.ROTATE, 5, 4, "silo-04"),
        (Operation.TRAIN, 5, 4, "silo-04"),
    ],
)
def test_silos_that_do_not_go_with_the_base_are_named(
    operation: Operation, n: int, of_epoch: int, named: str
) -> None:
    status = world(operation, n, of_epoch).run()
    assert reason(status) == "BaseMismatch"
    assert named in status["conditions"][0]["message"]


def test_a_base_that_the_hub_lacks_is_waited_for_and_then_named() -> None:
    w = world(Operation.ROTATE, 4, 4)
    w.base = None
    assert w.settle().status["waitingFor"][0]["what"] == f"have release sha256:{BASE}"
    assert reason(w.run()) == "BaseUnknown"


def test_a_rotation_without_the_departed_silo_trains_nothing_and_begins_a_new_epoch() -> None:
    w = world(Operation.ROTATE, 3, 4)
    assert reason(w.run()) == "Released"
    assert w.computation is not None
    assert w.computation["newEpoch"]
    assert w.computation["spec"]["training"]["communicationRounds"] == 2, "inherited, for the encoder"
    told = manifest(w)
    assert told["epoch"] == told["h"] != digest("epoch").hex()
    assert set(told["roster"]) == {"silo-00", "silo-01", "silo-02"}
    assert told["members"][0]["model"] == digest("m").hex()
    assert {e.member for e in w.entries if e.kind == "keys"} == {"evaluation"}


def test_training_on_names_its_parent() -> None:
    w = world(Operation.TRAIN, 4, 4)
    assert reason(w.run()) == "Released"
    told = manifest(w)
    assert told["parents"] == [BASE]
    assert told["members"][0]["model"] != digest("m").hex()


def test_a_silo_with_another_extractor_is_left_out_of_the_kernel() -> None:
    w = world(Operation.ROTATE, 4, 4)

    def settle_rows() -> None:
        for i, entry in enumerate(w.entries):
            if entry.kind == "rows" and entry.sender == "silo-03":
                changed = replace(entry, body={**entry.body, "sealed": digest("another")})
                w.entries[i] = changed

    while not w.hub("rows-closed", 1):
        settle_rows()
        w.tick()
    closed = w.hub("rows-closed", 1)
    assert closed is not None
    assert closed.body["silos"] == ["silo-00", "silo-01", "silo-02"]


def test_the_release_is_published_once() -> None:
    w = world(Operation.TRAIN, 4, 4)
    w.run()
    made = w.settle()
    assert w.published
    assert not [a for a in made.actions if not isinstance(a, EnsureTask)]
    assert not plan(w.round, w.observed, w.now).actions
