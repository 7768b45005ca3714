"""Recorded boards of simulated rounds: every decision comes out of the messages before it, and tampering shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.plan import BaseRelease, Entry
from fedgestalt_operator.plan.board_file import BoardRecord, export_board
from fedgestalt_operator.plugin.access import Access
from fedgestalt_operator.plugin.audit import Checked, audit
from fedgestalt_operator.plugin.board_read import parse_board
from fedgestalt_operator.plugin.main import cli

from ...plan import test_operations as operations
from ...plan.simulation import HOLD, POST, World, digest
from ...plan.test_random_schedules import play
from .rounds import START, Rig, document


def record_of(rig: Rig) -> BoardRecord:
    """The board as it comes back from JSON."""
    world = rig.world
    exported = export_board(rig.document, world.entries, world.computation, world.base)
    return parse_board(json.loads(json.dumps(exported)), "the board")


def record_of_world(world: World, base: BaseRelease | None = None) -> BoardRecord:
    """The same for a world whose round has no whole document."""
    exported = export_board(document(), world.entries, world.computation, base)
    record = parse_board(json.loads(json.dumps(exported)), "the board")
    return replace(record, round=replace(world.round, metadata=replace(world.round.metadata, generation=2)))


def verdicts(record: BoardRecord) -> Counter[str]:
    return Counter(checked.verdict for checked in audit(record))


def of_kind(record: BoardRecord, kind: str, t: int = 0) -> Checked:
    return next(c for c in audit(record) if c.made.kind == kind and t in (0, c.made.t))


def finished(hook: Callable[..., str] = lambda *_: POST, **spec: Any) -> Rig:
    rig = Rig(document(**spec), hook=hook)
    rig.world.run()
    return rig


@cache
def undisturbed() -> Rig:
    """A round in which nothing happened; for reading only."""
    return finished()


def test_undisturbed_round_is_reproduced_but_for_what_jobs_and_the_registry_said() -> None:
    found = verdicts(record_of(finished(members=2)))
    assert set(found) == {"same", "needs job", "needs registry"}
    assert found["needs registry"] == 1
    # four sums and one of the evaluation, and the kernel
    assert found["needs job"] == 6


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(100, 200), marks=pytest.mark.slow)])
def test_every_decision_of_rounds_with_crashes_faults_and_suspensions_is_reproduced(seeds: range) -> None:
    for seed in seeds:
        for checked in audit(record_of_world(play(seed))):
            assert checked.same, f"seed {seed}: {checked.made}, expected {checked.expected}"


@pytest.mark.parametrize("others", [{}, {"south": "rows of length 2, not one"}])
def test_rows_that_the_kernel_refused_are_reproduced(others: dict[str, str]) -> None:
    rig = Rig()
    rig.world.rows_refused = {"west": "width 8, most have width 4", **others}
    rig.world.run()
    found = of_kind(record_of(rig), "failed" if others else "rankings")
    assert found.same
    assert found.verdict == "needs job"


def test_decision_made_without_a_lost_silo_needs_presence_and_names_it() -> None:
    rig = Rig()
    rig.until(lambda w: w.decisions("senders"))
    rig.world.agents["west"].alive = False
    rig.world.run()
    checked = of_kind(record_of(rig), "keyset", t=2)
    assert checked.verdict == "needs presence"
    assert checked.needs[0][1] == "not heard for 90 s: west"


def test_decision_that_time_alone_explains_needs_nothing() -> None:
    record = record_of(finished(lambda s, k, *_: HOLD if (s.name, k) == ("west", "masked") else POST))
    checked = of_kind(record, "survivors", t=1)
    assert checked.made.body["silos"] == ["east", "north", "south"]
    assert checked.verdict == "same"


def test_retry_that_counted_on_silos_long_unheard_says_so() -> None:
    def hook(silo: Any, kind: str, member: str, t: int, a: int) -> str:
        return HOLD if (kind, t, a) == ("masked", 1, 1) and silo.name > "north" and member == "m0" else POST

    rig = Rig(hook=hook)
    rig.world.round = replace(
        rig.world.round, quorum=replace(rig.world.round.quorum, straggler_timeout=200.0)
    )
    rig.world.run()
    record = record_of(rig)
    record = replace(record, round=rig.world.round)
    checked = of_kind(record, "retry")
    assert checked.verdict == "needs presence"
    assert checked.needs[0][1].startswith("connected, though not heard on the board:")


def test_wish_of_the_coordinator_is_named_where_the_spec_was_changed() -> None:
    rig = Rig()
    rig.until(lambda w: w.decisions("keyset"))
    rig.change(suspend=True)
    rig.until(lambda w: w.now > START + 60)
    rig.change(suspend=False)
    rig.world.run()
    record = record_of(rig)
    assert record.round.metadata.generation == 3
    assert verdicts(record)["needs wish"] == 2
    never = replace(
        record, round=replace(record.round, metadata=replace(record.round.metadata, generation=1))
    )
    assert verdicts(never)["DIFFERS"] == 2, "a spec that was never changed never asked for it"


def test_deadline_that_was_extended_later_is_named() -> None:
    rig = Rig(hook=lambda s, k, *_: HOLD if (s.name, k) == ("west", "enrol") else POST)
    rig.until(lambda w: w.decisions("roster"))
    rig.change(deadlines={"start": 3000, "active": 20_000})
    rig.world.run()
    checked = of_kind(record_of(rig), "roster")
    assert checked.needs[0][1] == "spec.deadlines.start was shorter then"


def test_messages_that_arrived_while_a_decision_was_made_do_not_make_it_another() -> None:
    rig = finished(lambda s, k, *_: HOLD if (s.name, k) == ("west", "masked") else POST)
    record = record_of(rig)
    place = next(i for i, e in enumerate(record.entries) if e.kind == "survivors")
    made = record.entries[place]
    late = Entry(
        made.seq, made.received, 1, "m0", 1, 1, "masked", "west", {"digest": digest("w"), "length": 4}
    )
    after = [replace(e, seq=e.seq + 1) for e in record.entries[place:]]
    raced = replace(record, entries=(*record.entries[:place], late, *after))
    checked = of_kind(raced, "survivors", t=1)
    assert (checked.verdict, checked.prefix) == ("same", place)


def tampered(record: BoardRecord, kind: str, **changes: Any) -> BoardRecord:
    """The first decision of a kind says something else."""
    entries = list(record.entries)
    place = next(i for i, e in enumerate(entries) if e.kind == kind)
    entries[place] = replace(entries[place], body={**entries[place].body, **changes})
    return replace(record, entries=tuple(entries))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("roster", {"silos": ["east", "north", "south"]}),
        ("enrolled", {"h": bytes(32)}),
        ("aggregate", {"silos": ["east", "north", "south"]}),
        ("advance", {"hash": bytes(32)}),
        ("advance", {"silos": ["north", "south", "west"]}),
        ("manifest", {"digest": bytes(32)}),
        ("released", {"digest": bytes(32)}),
        ("computation", {"digest": bytes(32)}),
    ],
)
def test_decision_that_the_messages_do_not_support_differs(kind: str, changes: dict[str, Any]) -> None:
    record = record_of(undisturbed())
    assert of_kind(tampered(record, kind, **changes), kind).verdict == "DIFFERS"


def test_computation_that_is_not_the_spec_s_differs() -> None:
    record = record_of(undisturbed())
    spec = {**record.round.spec, "purpose": "DUO:0000042"}
    assert (
        of_kind(replace(record, round=replace(record.round, spec=spec)), "computation").verdict == "DIFFERS"
    )


def test_failure_without_its_cause_differs() -> None:
    record = record_of(finished(lambda s, k, *_: "DataInvalid" if s.name > "north" and k == "keys" else POST))
    assert of_kind(record, "failed").verdict == "same"
    told = tuple(e for e in record.entries if not (e.kind == "fault" and e.sender == "west"))
    blamed = of_kind(replace(record, entries=told), "failed")
    assert blamed.verdict == "needs task"
    assert blamed.needs[0][1] == "failed: west (DataInvalid)"
    early = tampered(
        record, "failed", reason="DeadlineExceeded", message="in Training, waiting for west: keys"
    )
    assert of_kind(early, "failed").verdict == "DIFFERS"


@pytest.mark.parametrize("fate", ["fail", "ok"])
def test_failed_jobs_explain_retries_skips_and_the_end(fate: str) -> None:
    rig = Rig(job_hook=lambda name: "fail" if "aggregate" in name or fate == "fail" else "ok")
    rig.world.run()
    found = verdicts(record_of(rig))
    assert found["DIFFERS"] == 0
    assert found["needs job"] >= 10


def test_round_that_ended_before_it_was_accepted_is_explained_by_the_registry() -> None:
    rig = Rig()
    del rig.world.silos["west"], rig.world.agents["west"]
    rig.world.run()
    checked = of_kind(record_of(rig), "failed")
    assert checked.needs[0][1] == "not registered and accepted: west"


@pytest.mark.parametrize("operation", [Operation.ADOPT, Operation.ROTATE, Operation.TRAIN])
def test_rounds_on_a_release_are_reproduced_with_it_and_say_so_without_it(operation: Operation) -> None:
    world = operations.world(operation, 5 if operation is Operation.ADOPT else 4, 4)
    world.run()
    whole = record_of_world(world, world.base)
    assert verdicts(whole)["DIFFERS"] == verdicts(whole)["cannot be told"] == 0
    lacking = verdicts(record_of_world(world))
    assert lacking["DIFFERS"] == 0
    assert (lacking["cannot be told"] > 0) == (operation is not Operation.TRAIN)


def call(tmp_path: Path, record: dict[str, Any], *arguments: str) -> Result:
    path = tmp_path / "board.json"
    path.write_text(json.dumps(record))
    return CliRunner().invoke(cli, ["replay", *arguments, "--board", str(path)])


def exported(rig: Rig) -> dict[str, Any]:
    return export_board(rig.document, rig.world.entries, rig.world.computation)


def test_step_ends_with_code_0_and_counts(tmp_path: Path) -> None:
    result = call(tmp_path, exported(undisturbed()), "gm-2026-09", "--step")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == (
        "25 decisions: 20 same, 5 same given facts that the board does not tell, 0 differ"
    )


def test_step_ends_with_code_1_and_shows_what_the_planner_says_instead(tmp_path: Path) -> None:
    record = exported(undisturbed())
    roster = next(e for e in record["entries"] if e["kind"] == "roster")
    roster["body"]["silos"] = ["east", "north", "south"]
    result = call(tmp_path, record, "gm-2026-09", "--step")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("seq 5 "))
    assert lines[at + 2] == "  verdict  DIFFERS"
    assert lines[at + 4].strip() == "decide  roster: silos=east,north,south,west"


def test_moment_shows_what_was_known_what_follows_and_what_was_done(tmp_path: Path) -> None:
    rig = finished(lambda s, k, *_: HOLD if (s.name, k) == ("west", "masked") else POST)
    result = call(tmp_path, exported(rig), "gm-2026-09", "--until", "2026-11-24T14:20:30Z")
    assert result.exit_code == 0, result.output
    text = result.output
    assert text.startswith("Round gm-2026-09 at 2026-11-24 14:20:30Z: Training, 32 of ")
    assert "wait    for west: upload m0 t=1 until 14:21:09Z, then go on without it" in text
    assert "Next, 39 s and 0 messages later, the hub decided (seq 32, 14:21:09Z): survivors m0 t=1" in text
    assert "planner decides: the same" in text
    assert "give" not in text, "tasks that were given before are not to be given again"


def test_moment_may_be_a_sequence_number(tmp_path: Path) -> None:
    result = call(tmp_path, exported(undisturbed()), "gm-2026-09", "--until", "4")
    assert "Enrolling, 5 of " in result.output
    assert "decide  roster: silos=east,north,south,west" in result.output


def test_end_of_the_board_is_the_moment_that_is_not_named(tmp_path: Path) -> None:
    result = call(tmp_path, exported(undisturbed()), "gm-2026-09")
    assert "The hub has decided nothing after that." in result.output
    assert ": Succeeded," in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["gm-2026-09", "--until", "yesterday"], 2, "yesterday"),
        (["gm-2026-09", "--until", "2026-11-24T14:20:30"], 2, "offset"),
        (["gm-2026-09", "--until", "2020-01-01T00:00:00Z"], 2, "before the round was created"),
        (["gm-2026-09", "--until", "3", "--step"], 2, "leave out --until"),
        (["another"], 4, "is the board of round gm-2026-09, not of another"),
    ],
)
def test_wrong_asking_is_said(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    result = call(tmp_path, exported(undisturbed()), *arguments)
    assert result.exit_code == code
    assert said in result.output


def test_hub_s_board_is_asked_for_through_the_service_proxy() -> None:
    rig = undisturbed()
    asked: list[str] = []

    def answer(path: str) -> dict[str, Any]:
        asked.append(path)
        found: dict[str, Any] = json.loads(json.dumps(exported(rig)))
        return found

    access: Access = replace(rig.access, document=answer)
    arguments = ["replay", "gm-2026-09", "--step", "--hub-namespace", "hub-system"]
    result = CliRunner().invoke(cli, arguments, obj=lambda *_: access)
    assert result.exit_code == 0, result.output
    uid = rig.world.round.metadata.uid
    assert asked == [
        f"/api/v1/namespaces/hub-system/services/https:fedgestalt-hub:http/proxy/v1/rounds/{uid}/board"
    ]
