"""What `why` says in each phase and at each end. The whole answers stand in answers/, as a coordinator reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fedgestalt_operator.api.reasons import FaultReason, GrantReason, RoundReason
from fedgestalt_operator.api.task import TaskPhase
from fedgestalt_operator.plan.types import TaskState
from fedgestalt_operator.plugin.main import cli
from fedgestalt_operator.plugin.reasons import AT_THE_SILO, MEANINGS, OF_GRANTS
from fedgestalt_operator.plugin.why import explain
from fedgestalt_operator.plugin.words import consequence, grouped, mover, task

from ...plan.simulation import HOLD, POST
from .rounds import START, Rig, document

ANSWERS = Path(__file__).parent / "answers"


def hold(*kinds: str, silo: str = "west", member: str | None = None) -> Callable[..., str]:
    return lambda s, k, m, *_: HOLD if s.name == silo and k in kinds and member in (None, m) else POST


def unregistered() -> tuple[Rig, dict[str, Any]]:
    rig = Rig()
    del rig.world.silos["west"]
    return rig, rig.show()


def held(*kinds: str, after: Callable[[Any], object]) -> tuple[Rig, dict[str, Any]]:
    rig = Rig(hook=hold(*kinds))
    return rig, rig.until(after)


def lost() -> tuple[Rig, dict[str, Any]]:
    rig = Rig()
    rig.until(lambda w: w.decisions("senders"))
    rig.world.agents["west"].alive = rig.world.agents["north"].alive = False
    return rig, rig.until(lambda w: w.now > START + 120)


def job(kind: str) -> tuple[Rig, dict[str, Any]]:
    rig = Rig(job_hook=lambda name: "hang" if kind in name else "ok")
    return rig, rig.until(lambda w: any(kind in name for name in w.jobs))


def suspended() -> tuple[Rig, dict[str, Any]]:
    rig = Rig()
    rig.until(lambda w: w.decisions("keyset"))
    rig.change(suspend=True)
    return rig, rig.until(lambda w: w.now > START + 100)


def evaluation() -> tuple[Rig, dict[str, Any]]:
    rig = Rig(hook=hold("masked", member="evaluation"))
    return rig, rig.until(lambda w: len(w.said("masked", 1, "evaluation", 1, 1)) == 3)


def ended(hook: Callable[..., str] = lambda *_: POST, **spec: Any) -> tuple[Rig, dict[str, Any]]:
    rig = Rig(document(**spec), hook=hook)
    return rig, rig.finish()


def refused(until: Callable[[Any], object]) -> tuple[Rig, dict[str, Any]]:
    """West's agent does not enrol: no grant fits, and its task says which rules do not."""
    rig = Rig(hook=lambda s, *_: HOLD if s.name == "west" else "GrantMismatch" if s.name == "south" else POST)
    rig.until(lambda w: len(w.said("enrol", 1)) == 2)
    (name,) = (n for n in rig.world.tasks if "-enrol-west-" in n)
    causes = (GrantReason.OPERATION, GrantReason.PEER)
    rig.world.tasks[name] = TaskState(TaskPhase.FAILED, "GrantMismatch", message="not shown", causes=causes)
    return rig, rig.until(until)


def refusing(kind: str, fault: str) -> Callable[..., str]:
    return lambda silo, k, *_: fault if silo.name > "north" and kind in (k, "any") else POST


SCENES: dict[str, Callable[[], tuple[Rig, dict[str, Any]]]] = {
    "pending": unregistered,
    "enrolling": lambda: held("enrol", after=lambda w: len(w.said("enrol", 1)) == 3),
    "endorsing": lambda: held("endorse", after=lambda w: len(w.said("endorse", 1)) == 3),
    "training": lambda: held(after=lambda w: w.decisions("senders")),
    "upload": lambda: held("masked", after=lambda w: len(w.said("masked", 1, "m0", 1, 1)) == 3),
    "link-lost": lost,
    "aggregating": lambda: job("aggregate"),
    "suspended": suspended,
    "encoding": lambda: held("rows", after=lambda w: len(w.said("rows", 1)) == 3),
    "kernel": lambda: job("kernel"),
    "evaluation": evaluation,
    "releasing": lambda: held("sign", after=lambda w: len(w.said("sign", 1)) == 3),
    "released": ended,
    "rehearsed": lambda: ended(stopAfter="Enrolling"),
    "quorum-not-reached": lambda: ended(refusing("any", "GrantMismatch")),
    "grants": lambda: refused(lambda w: w.now > START + 20),
    "grants-did-not-fit": lambda: refused(lambda w: w.decisions("failed")),
    "quorum-lost": lambda: ended(refusing("keys", "DataInvalid")),
}


@pytest.mark.parametrize("scene", SCENES)
def test_answer_is_the_one_that_was_found_clear(scene: str) -> None:
    rig, seen = SCENES[scene]()
    answer = "\n".join(explain(seen, rig.world.now)) + "\n"
    assert answer == (ANSWERS / f"{scene}.txt").read_text(encoding="utf-8")


def test_command_prints_the_answer() -> None:
    rig, seen = suspended()
    result = CliRunner().invoke(cli, ["why", "gm-2026-09"], obj=lambda *_: rig.access)
    assert result.exit_code == 0
    assert result.output == "\n".join(explain(seen, rig.world.now)) + "\n"


def test_round_that_nobody_has_looked_at_says_so() -> None:
    rig = Rig()
    assert "has no status yet" in explain(rig.document, START + 5)[0]


def test_round_of_another_controller_says_whose_it_is() -> None:
    made = document(managedBy="example.org/other")
    assert explain(made, START) == [
        "Round gm-2026-09 is managed by example.org/other, not by this hub: it says nothing about it."
    ]


def test_change_that_the_hub_has_not_looked_at_is_said() -> None:
    rig, _ = held(after=lambda w: w.decisions("senders"))
    rig.change(deadlines={"start": 300, "active": 30_000})
    assert any("has not looked at the change" in line for line in explain(rig.document, rig.world.now))


def test_time_that_has_passed_is_not_counted_down() -> None:
    rig, seen = SCENES["upload"]()
    assert "  Until:       14:21:09Z, 11 s ago: the hub is about to act" in explain(seen, START + 80)
    assert rig.world.now < START + 80


def test_fields_of_each_answer_stand_for_those_of_the_status() -> None:
    rig, seen = SCENES["upload"]()
    [wait] = seen["status"]["waitingFor"]
    text = "\n".join(explain(seen, rig.world.now))
    assert wait["who"] in text
    assert wait["until"][11:] in text
    assert wait["since"][11:] in text


@pytest.mark.parametrize("reason", RoundReason)
def test_every_reason_is_explained(reason: RoundReason) -> None:
    assert MEANINGS[reason][0]


@pytest.mark.parametrize("reason", FaultReason)
def test_every_fault_of_a_silo_is_explained(reason: FaultReason) -> None:
    assert AT_THE_SILO[reason]


def test_every_rule_of_a_grant_has_a_meaning_and_no_answer_shows_what_a_site_wrote() -> None:
    assert set(OF_GRANTS) == set(GrantReason)
    assert all("not shown" not in answer.read_text() for answer in ANSWERS.iterdir())


@pytest.mark.parametrize("reason", [r for r in RoundReason if list(RoundReason).index(r) > 7])
def test_every_failure_says_what_to_do(reason: RoundReason) -> None:
    assert MEANINGS[reason][1]


def wait(who: str, what: str, then: str) -> dict[str, str]:
    return {"who": who, "what": what, "since": "2026-11-24T14:20:00Z", "then": then}


def test_waits_that_differ_only_in_the_silo_are_one() -> None:
    groups = grouped([wait(s, "rows", "go on without it") for s in ("east", "west")])
    assert [g.who for g in groups] == [("east", "west")]
    assert consequence(groups[0]) == "the round goes on without them"


@pytest.mark.parametrize(
    ("what", "then", "said"),
    [
        ("keys m0 t=3", "another try", "another try with fresh masks"),
        ("upload m0 t=3", "skip t=3", "communication round 3 is skipped"),
        ("confirm", "a fresh enrolment", "with new keys for all"),
        ("admit the newcomers", "Failed: PeerRefused", "the round fails with PeerRefused: not every silo"),
        ("something new", "something unheard of", "something unheard of"),
    ],
)
def test_consequences_are_sentences(what: str, then: str, said: str) -> None:
    [group] = grouped([wait("west", what, then)])
    assert said in consequence(group)
    assert task(group)


def test_reason_that_only_a_site_knows_is_passed_on() -> None:
    [group] = grouped([wait("west", "enrol (ReleaseMissing)", "go on without it")])
    assert mover(group) == "west: ReleaseMissing, its site says ReleaseMissing"
