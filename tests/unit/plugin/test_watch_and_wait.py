"""Following a round to its end: what is printed, and which exit code says how it ended."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from rich.text import Text

from fedgestalt_operator.api.round import KIND
from fedgestalt_operator.kube.errors import ClusterUnavailable, Forbidden, Gone
from fedgestalt_operator.plugin import follow as following
from fedgestalt_operator.plugin import main as entry
from fedgestalt_operator.plugin.access import Access
from fedgestalt_operator.plugin.changes import changes
from fedgestalt_operator.plugin.ends import End, Exit
from fedgestalt_operator.plugin.follow import follow
from fedgestalt_operator.plugin.main import cli
from fedgestalt_operator.plugin.screen import screen
from fedgestalt_operator.plugin.watch import watch_round

from ...plan.simulation import HOLD, POST
from .rounds import NAMESPACE, SILOS, START, Rig, document

NAME = "gm-2026-09"


def call(rig: Rig, *arguments: str, access: Access | None = None) -> Result:
    def opener(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Access:
        return replace(access or rig.access, namespace=namespace or NAMESPACE)

    return CliRunner().invoke(cli, list(arguments), obj=opener)


def meanwhile(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def run_slowly(rig: Rig) -> None:
    """The round goes on while somebody watches, each step's status written."""
    shown: dict[str, Any] = {}
    while shown.get("phase") not in ("Succeeded", "Failed"):
        status = dict(rig.world.settle().status)
        if status != shown:
            shown = rig.show()["status"]
        rig.world.tick()


def failing(silo: Any, *_: Any) -> str:
    return "GrantMismatch" if silo.name > "north" else POST


def test_wait_says_with_code_0_that_a_round_succeeded() -> None:
    rig = Rig()
    rig.finish()
    result = call(rig, "wait", NAME)
    assert result.exit_code == 0
    assert result.output.startswith(f"round {NAME} succeeded: Released, release sha256:")
    assert result.output.count("\n") == 1


def test_wait_says_with_code_1_why_a_round_failed() -> None:
    rig = Rig(hook=failing)
    rig.finish()
    result = call(rig, "wait", NAME)
    assert result.exit_code == 1
    assert result.output.startswith(f"round {NAME} failed: QuorumNotReached (2 of 4 silos enrolled")


def test_wait_sees_an_end_that_comes_while_it_waits() -> None:
    rig = Rig(document(rounds=1))
    rig.show()
    thread = meanwhile(lambda: run_slowly(rig))
    result = call(rig, "wait", NAME, "--timeout", "1m")
    thread.join()
    assert result.exit_code == 0, result.output


def test_wait_gives_up_with_code_3_and_says_what_the_round_waits_for() -> None:
    rig = Rig(hook=lambda s, k, *_: HOLD if (s.name, k) == ("west", "masked") else POST)
    rig.until(lambda w: len(w.said("masked", 1, "m0", 1, 1)) == 3)
    result = call(rig, "wait", NAME, "--timeout", "1s")
    assert result.exit_code == 3
    assert "not over after 1 s: Training, waiting for west: upload m0 t=1" in result.output


@pytest.mark.parametrize("command", ["wait", "watch", "why"])
def test_unknown_round_is_code_4(command: str) -> None:
    result = call(Rig(), command, "nothing")
    assert result.exit_code == 4
    assert "FederationRound nothing" in result.output


@pytest.mark.parametrize("command", ["wait", "watch", "why"])
def test_namespace_of_the_command_line_is_the_one_that_is_asked(command: str) -> None:
    assert call(Rig(), command, NAME, "-n", "elsewhere").exit_code == 4


def test_round_that_is_deleted_while_waited_for_is_code_4() -> None:
    rig = Rig()
    rig.show()
    deleting = threading.Timer(0.2, lambda: rig.cluster.delete(KIND, NAMESPACE, NAME))
    deleting.start()
    result = call(rig, "wait", NAME, "--timeout", "20s")
    assert result.exit_code == 4
    assert "deleted before it was over" in result.output


@pytest.mark.parametrize("arguments", [["wait"], ["wait", NAME, "--timeout", "soon"], ["nothing"]])
def test_wrong_usage_is_code_2(arguments: list[str]) -> None:
    assert call(Rig(), *arguments).exit_code == 2


class Breaking:
    """A cluster whose answers fail as told; `errors` are raised in turn by watch, None lets one through."""

    def __init__(self, rig: Rig, errors: list[Exception | None], first: Exception | None = None) -> None:
        self._cluster, self._errors, self._first = rig.cluster, errors, first

    def get(self, *where: str) -> dict[str, Any]:
        if self._first is not None:
            raise self._first
        return self._cluster.get(*where)

    def list(self, *where: Any) -> Any:
        return self._cluster.list(*where)

    def watch(self, *where: Any) -> Iterator[Any]:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return self._cluster.watch(*where)


@pytest.mark.parametrize("error", [ClusterUnavailable("no answer"), Forbidden("get FederationRound")])
def test_unreachable_cluster_is_code_5(error: Exception) -> None:
    rig = Rig()
    access: Any = replace(rig.access, cluster=Breaking(rig, [], error))
    result = call(rig, "wait", NAME, access=access)
    assert result.exit_code == 5
    assert str(error) in result.output


def test_lost_connection_is_said_once_and_the_round_is_seen_to_its_end(monkeypatch: Any) -> None:
    monkeypatch.setattr(following, "_PAUSE", 0.01)
    rig = Rig()
    rig.show()
    away: list[Exception | None] = [ClusterUnavailable("connection reset")] * 3 + [None]
    cluster: Any = Breaking(rig, away)
    said: list[str] = []
    thread = meanwhile(lambda: run_slowly(rig))
    seen = [d["status"]["phase"] for d in follow(cluster, NAMESPACE, NAME, on_lost=said.append)]
    thread.join()
    assert seen[-1] == "Succeeded"
    assert said == ["connection reset"]


def test_patience_with_a_cluster_that_stays_away_ends() -> None:
    rig = Rig()
    rig.show()
    cluster: Any = Breaking(rig, [ClusterUnavailable("connection reset")] * 10_000)
    with pytest.raises(End) as found:
        list(follow(cluster, NAMESPACE, NAME, patience=0.3))
    assert found.value.exit_code == Exit.UNREACHABLE


def test_watch_whose_events_are_gone_goes_on_from_a_list() -> None:
    rig = Rig()
    rig.show()
    cluster: Any = Breaking(rig, [Gone("too old")])
    documents = follow(cluster, NAMESPACE, NAME)
    next(documents)
    rig.finish()
    assert next(documents)["status"]["phase"] == "Succeeded"


def plain(rig: Rig) -> tuple[int, list[str]]:
    out = io.StringIO()
    thread = meanwhile(lambda: run_slowly(rig))
    code = watch_round(rig.access, NAME, Console(file=out, width=80))
    thread.join()
    return int(code), out.getvalue().splitlines()


def test_watch_prints_a_line_per_change_where_there_is_no_terminal() -> None:
    rig = Rig()
    rig.show()
    code, lines = plain(rig)
    assert code == 0
    text = "\n".join(line[11:] for line in lines)
    phases = [line.split()[1] for line in text.splitlines() if line.startswith("phase")]
    assert phases == ["Enrolling", "Training", "Encoding", "Matching", "Releasing", "Succeeded"]
    assert "m0: 1 of 2 communication rounds done" in text
    assert "waits for east, north, south and west: upload m0 t=1" in text
    assert lines[-1].startswith(f"round {NAME} succeeded: Released")


def test_watch_ends_with_code_1_and_names_the_fault() -> None:
    rig = Rig(hook=lambda s, k, *_: "DataInvalid" if s.name > "north" and k == "keys" else POST)
    rig.show()
    code, lines = plain(rig)
    assert code == 1
    assert any(line.endswith("south: fault DataInvalid, takes no further part") for line in lines)
    assert lines[-1].startswith(f"round {NAME} failed: QuorumLost")


def shown(rig: Rig, seen: Mapping[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False, record=True)
    console.print(screen(seen, [(START, "phase Training")], rig.world.now))
    return console.export_text()


def test_screen_shows_the_road_the_silos_and_the_time_that_is_left() -> None:
    rig = Rig(hook=lambda s, k, *_: HOLD if (s.name, k) == ("west", "masked") else POST)
    seen = rig.until(lambda w: len(w.said("masked", 1, "m0", 1, 1)) == 3)
    text = shown(rig, seen)
    assert "Pending > Enrolling > [Training] > Encoding > Matching > Releasing > Succeeded" in text
    assert "silos 4/4, 3 needed" in text
    west = next(line for line in text.splitlines() if line.startswith("west "))
    assert west.split()[1:5] == ["up", "Running", "upload", "m0"]
    assert next(line for line in text.splitlines() if "go on without it" in line).split()[-6:-4] == [
        "59",
        "s",
    ]


def test_screen_of_an_adopt_round_has_no_training_on_its_road() -> None:
    made = document()
    made["spec"]["operation"] = "Adopt"
    assert "Enrolling > Encoding" in shown(Rig(), made)


def test_screen_keeps_silos_with_trouble_in_sight_where_there_are_many() -> None:
    names = sorted([*SILOS, *(f"zz-{i:02d}" for i in range(20))])
    rig = Rig(document(names), hook=lambda s, k, *_: HOLD if (s.name, k) == ("zz-19", "masked") else POST)
    seen = rig.until(lambda w: len(w.said("masked", 1, "m0", 1, 1)) == 23)
    text = shown(rig, seen)
    assert "zz-19" in text
    assert "... and 12 more" in text


def test_percents_and_countdowns_are_no_changes() -> None:
    rig = Rig(hook=lambda s, k, *_: HOLD if (s.name, k) == ("west", "masked") else POST)
    old = rig.until(lambda w: len(w.said("masked", 1, "m0", 1, 1)) == 3)["status"]
    silos = [{**s, "task": {"phase": "Running", "reason": "", "percent": 55}} for s in old["silos"]]
    assert changes(old, {**old, "silos": silos}, START) == []
    assert changes(old, old, START) == []


def test_lost_silo_and_suspension_are_changes() -> None:
    rig = Rig()
    before = rig.until(lambda w: w.decisions("keyset"))["status"]
    rig.world.agents["west"].alive = False
    rig.change(suspend=True)
    after = rig.until(lambda w: w.now > START + 120)["status"]
    lines = changes(before, after, START)
    assert "suspended" in lines
    assert "west: not connected" in lines


def test_live_view_ends_with_the_round_on_a_terminal() -> None:
    rig = Rig()
    rig.until(lambda w: w.decisions("senders"))
    out = io.StringIO()
    ending = threading.Timer(0.3, rig.finish)
    ending.start()
    code = watch_round(rig.access, NAME, Console(file=out, width=100, height=40, force_terminal=True))
    ending.join()
    assert code == 0
    assert "[Training]" in Text.from_ansi(out.getvalue()).plain
    assert f"round {NAME} succeeded: Released" in out.getvalue()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), click.exceptions.Abort()])
def test_interrupted_command_ends_with_code_130(interruption: BaseException, monkeypatch: Any) -> None:
    def interrupted(*_: Any) -> Any:
        raise interruption

    monkeypatch.setattr(entry, "open_access", interrupted)
    monkeypatch.setattr("sys.argv", ["kubectl-fedgestalt", "watch", NAME])
    with pytest.raises(SystemExit) as found:
        entry.main()
    assert found.value.code == 130


def test_entry_point_ends_with_the_code_of_the_command(monkeypatch: Any) -> None:
    rig = Rig(hook=failing)
    rig.finish()
    monkeypatch.setattr(entry, "open_access", lambda *_: rig.access)
    monkeypatch.setattr("sys.argv", ["kubectl-fedgestalt", "wait", NAME])
    with pytest.raises(SystemExit) as found:
        entry.main()
    assert found.value.code == 1
