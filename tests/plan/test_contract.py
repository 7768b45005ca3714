"""The planner against its neighbours: the protocol room's words, the names' limits, purity."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

import fedgestalt_operator.plan
from fedgestalt.secagg import computation as secagg_computation
from fedgestalt.secagg.kinds import FaultReason as SecaggFaultReason
from fedgestalt.secagg.kinds import Kind as SecaggKind
from fedgestalt.secagg.schemas import SCHEMAS, check_body
from fedgestalt_operator.api.reasons import FaultReason
from fedgestalt_operator.api.task import TaskKind
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.validate import validate, validate_file
from fedgestalt_operator.plan import Entry, Observed, SiloState, plan
from fedgestalt_operator.plan.kinds import Kind
from fedgestalt_operator.plan.names import aggregate_name, kernel_name, short_uid, task_name
from fedgestalt_operator.plan.quorum import need, threshold

from .simulation import UID, World, digest, make_round


def test_kinds_are_those_of_the_protocol():
    assert {k.name: k.value for k in Kind} == {k.name: k.value for k in SecaggKind}


def test_fault_reasons_are_those_of_the_protocol():
    assert {r.value for r in FaultReason} == {r.value for r in SecaggFaultReason}


@pytest.mark.parametrize("n", range(3, 129))
def test_quorums_are_those_of_the_protocol(n):
    assert threshold(n) == secagg_computation.quorum(n)
    assert need(n, 3) == secagg_computation.need(n, 3)


def test_frozen_computation_is_what_silos_parse():
    world = World(make_round())
    decision = plan(world.round, world.observed, world.now).decisions[0]
    parsed = secagg_computation.Computation.parse(decision.blobs[0])
    assert parsed.round == UID
    assert set(parsed.silos) == set(world.round.silos)
    assert parsed.new_epoch is True
    assert parsed.digest == decision.body["digest"]


def test_frozen_computation_leaves_out_what_may_still_change():
    changes = {
        "suspend": False,
        "ttlAfterFinished": 9,
        "deadlines": {"start": 1},
        "managedBy": "x",
        "kernel": {},
    }
    round = make_round(spec={**make_round().spec, **changes})
    decision = plan(round, World(round).observed, 1000.0).decisions[0]
    assert set(json.loads(decision.blobs[0])["spec"]) == {*make_round().spec, "kernel"}


def test_bodies_of_all_decisions_fit_the_protocols_schemas():
    def hook(silo, kind, member, t, a):
        if (kind, silo.name) == ("endorse", "silo-00") and world.enrolment == 1:
            return "EndorsementMismatch"
        return "CheckFailed" if (kind, member, t, a) == ("model", "m0", 1, 1) else "post"

    world = World(make_round(), hook=hook)
    world.run()
    decisions = [x for x in world.entries if x.sender == "hub"]
    for x in decisions:
        check_body(SecaggKind(x.kind), dict(x.body))
    missing = {k.value for k in SCHEMAS} - {x.kind for x in world.entries}
    assert missing == {"skip", "failed", "admit", "welcome"}, "the run no longer shows every kind"


def test_body_of_a_failure_fits_the_protocols_schema():
    world = World(make_round(16))
    world.silos.clear()
    world.now += 10_000
    failed = plan(world.round, world.observed, world.now).decisions[0]
    check_body(SecaggKind.FAILED, dict(failed.body))


def test_status_fits_the_crd_at_every_moment():
    document = validate_file(crd_folder() / "examples" / "valid" / "round-minimal.yaml")[0]
    world = World(make_round(members=2))
    while True:
        status = dict(world.tick().status)
        validate({**document, "status": status})
        if status["phase"] == "Succeeded":
            break


def test_planner_imports_no_clock_no_randomness_and_nothing_that_reads_or_writes():
    allowed = {"__future__", "collections", "dataclasses", "datetime", "enum", "functools", "hashlib"}
    allowed |= {"rfc8785", "typing"}
    for room in ("plan", "api"):
        for file in (Path(fedgestalt_operator.plan.__file__).parents[1] / room).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    assert {a.name.split(".")[0] for a in node.names} <= allowed, file.name
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    assert (node.module or "").split(".")[0] in allowed, file.name
                elif isinstance(node, ast.Attribute):
                    assert node.attr not in ("utcnow", "today", "now") or isinstance(node.value, ast.Name), (
                        file.name
                    )
                    # `ctx.now` and `self.now` are given; datetime.now() would be read.
                    owner = node.value.id if isinstance(node.value, ast.Name) else ""
                    assert not (node.attr == "now" and owner in ("datetime", "time")), file.name


def test_longest_names_fit_47_characters():
    silo, member = "s" * 20, "m" * 12
    assert max(len(task_name(UID, kind, silo, 5)) for kind in TaskKind) <= 47
    assert len(aggregate_name(UID, member, 1000, 5, 5, 3)) <= 47
    assert len(kernel_name(UID, 5, 3)) <= 47


def test_uid_without_enough_digits_is_refused():
    with pytest.raises(ValueError, match="fewer than 8 hexadecimal digits"):
        short_uid("xyz")


def test_times_in_milliseconds_are_refused():
    entry = Entry(1, 1_700_000_000_000.0, 0, "", 0, 0, "computation", "hub", {"digest": digest(0)})
    with pytest.raises(ValueError, match="in seconds"):
        plan(make_round(), Observed((entry,)), 1_700_000_000.0)


def test_round_of_another_controller_is_left_alone():
    round = make_round(managed_by="kueue.x-k8s.io/multikueue")
    made = plan(round, World(round).observed, 1000.0)
    assert (made.decisions, made.actions, made.requeue_after) == ((), (), None)


def test_selector_takes_accepted_silos_with_the_labels():
    round = make_round(silos=(), selector={"fleet": "a"})
    silos = {
        name: SiloState(1000.0, accepted=name != "d", identity=digest(name).hex(), labels={"fleet": fleet})
        for name, fleet in [("a", "a"), ("b", "a"), ("c", "a"), ("d", "a"), ("e", "b")]
    }
    decision = plan(round, Observed(silos=silos), 1000.0).decisions[0]
    assert set(json.loads(decision.blobs[0])["silos"]) == {"a", "b", "c"}
    made = plan(round, Observed(silos={n: s for n, s in silos.items() if n != "a"}), 1000.0)
    assert made.status["waitingFor"][0]["who"] == "1 more silo(s) with the labels of siloSelector"


def test_silo_without_a_valid_identity_is_waited_for():
    world = World(make_round())
    world.silos["silo-01"] = replace(world.silos["silo-01"], identity="")
    made = plan(world.round, world.observed, world.now)
    assert [w["who"] for w in made.status["waitingFor"]] == ["silo-01"]
