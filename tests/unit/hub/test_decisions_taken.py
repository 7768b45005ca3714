"""A decision that the exchange does not take any more is for the hub a reason to read the board again."""

import random
from pathlib import Path
from typing import Any

import pytest
from tests.plan.silos import UID
from tests.schedules.faults import Weather
from tests.schedules.federation import NAME, Federation, Shape

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.chain import FileChainState, Position
from fedgestalt.exchange.errors import Code, PositionDamagedError, RefusedError, refused
from fedgestalt_operator.api.meta import Metadata
from fedgestalt_operator.api.task import SiloTask, TaskKind
from fedgestalt_operator.hub.exchange import RealExchange
from fedgestalt_operator.hub.ports import DecisionTaken, ExchangeUnavailable
from fedgestalt_operator.plan.types import Decision

RESUMED = Decision(1, "Resumed", 1, 0, "stage", {})


class Client:
    """An exchange that refuses every message."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def post(self, message: bytes) -> None:
        raise refused(self.code, "slot")

    def put_tasks(self, round_uid: str, tasks: object) -> None:
        raise refused(self.code, round_uid)


def exchange(code: Code, folder: Path) -> RealExchange:
    client: Any = Client(code)
    none: Any = None
    return RealExchange(client, none, Identity.generate(), folder)


@pytest.mark.parametrize("code", [Code.SLOT_TAKEN, Code.ROUND_OVER])
def test_the_board_stands_otherwise(code: Code, tmp_path: Path) -> None:
    with pytest.raises(DecisionTaken):
        exchange(code, tmp_path).post("5f0c2d7e", RESUMED)


def test_tasks_of_a_round_that_is_over_are_as_a_decision_that_comes_too_late(tmp_path: Path) -> None:
    task = SiloTask(Metadata("fg-task"), "west", TaskKind.ENROL, "5f0c2d7e", "ab" * 32, 1, {})
    with pytest.raises(DecisionTaken, match="5f0c2d7e"):
        exchange(Code.ROUND_OVER, tmp_path).put_tasks([task])


def test_a_process_whose_round_was_ended_before_its_tasks_were_given_looks_again() -> None:
    world = Federation(Shape(), Weather(random.Random(1)))
    world.weather.clear()
    while not world.exchange.decisions("computation"):
        assert world.reconcile()
    hub = world.process().reconciler
    entries = hub._exchange.entries
    seen = entries(UID)
    hub._exchange.entries = lambda uid: seen  # type: ignore[method-assign]
    ended = Decision(1, "", 0, 0, "failed", {"reason": "Deleted", "message": ""})
    world.exchange.post(ended, ())
    assert hub.reconcile("", NAME) == 0.0
    assert world.exchange.tasks == {}
    assert "waitingFor" not in world.status


def test_a_full_board_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(ExchangeUnavailable):
        exchange(Code.BOARD_FULL, tmp_path).post("5f0c2d7e", RESUMED)


@pytest.mark.parametrize("code", [Code.QUOTA_EXCEEDED, Code.MESSAGE_INVALID, Code.TOO_LARGE])
def test_what_is_refused_for_good_is_told_as_such_and_not_as_an_exchange_that_is_away(
    code: Code, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match=code.value):
        exchange(code, tmp_path).post("5f0c2d7e", RESUMED)


def test_a_damaged_file_of_the_hub_s_own_is_told_as_such_and_not_as_an_exchange_that_is_away(
    tmp_path: Path,
) -> None:
    chain = FileChainState(tmp_path / "chain")
    chain.advance(UID, Position(1, bytes(32)))
    (file,) = (tmp_path / "chain").iterdir()
    file.write_text("")

    class Reading(Client):
        def rounds(self) -> frozenset[str]:
            FileChainState(tmp_path / "chain").position(UID)
            return frozenset()

    client, none = Reading(Code.INTERNAL), None
    hub = RealExchange(client, none, Identity.generate(), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(PositionDamagedError, match="damaged"):
        hub.rounds()
