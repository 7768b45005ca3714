"""A trainer that never computes the same update twice: agents die with it, and still no mask meets two updates."""

from pathlib import Path

import pytest

from .harness import SILOS, Kill, Setting, run
from .sent import assert_no_mask_reused, lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

UNSTEADY = Setting(workload=("--unsteady",), straggler=20)


def recomputed(record: Path, silo: str) -> bool:
    """Whether the silo masked two vectors with the same keys, in memory at least: the danger was there."""
    made: dict[str, set[str]] = {}
    for line in lines(record / "masks" / f"{silo}.jsonl"):
        made.setdefault(line["keys"][0], set()).add(line["vector"])
    return any(len(vectors) > 1 for vectors in made.values())


def test_what_was_announced_is_sent_as_it_was_or_given_up(tmp_path: Path) -> None:
    kills = [
        Kill("agent:north", "spool", "after", 1),  # spooled, not yet announced on the board
        Kill("agent:south", "upload", "before", 1),  # announced on the board, not yet sent
        Kill("agent:east", "upload", "after", 1),  # sent, and not yet written down as sent
        # The fourth silo comes seconds later, so that the try is still open when the others have trained again.
        Kill("trainer:west", "start", "before", 1),
        Kill("trainer:west", "connect", "before", 1),
        Kill("trainer:west", "aggregate", "before", 1),
    ]
    ended = run(tmp_path, kills, UNSTEADY)
    assert ended.fired == {kill.marker for kill in kills}, ended.log()
    assert ended.phase == "Succeeded", ended.log()
    assert any(recomputed(ended.record, name) for name in SILOS), "no agent was ever tempted"
    (rounds,) = ended.models().values()
    assert [set(at["survivors"]) for at in rounds] == [set(SILOS)] * 2, "the spooled vectors count"
    assert assert_no_mask_reused(ended.record, dict.fromkeys(SILOS, 1)) >= 4 * 3


def test_a_vector_lost_before_the_spool_forfeits_its_try(tmp_path: Path) -> None:
    kills = [Kill("agent:north", "spool", "before", 1)]
    ended = run(tmp_path, kills, UNSTEADY)
    assert ended.fired == {kill.marker for kill in kills}, ended.log()
    assert ended.phase == "Succeeded", ended.log()
    log = (tmp_path / "federation" / "logs" / "north.log").read_text()
    assert "SpoolLost" in log
    (rounds,) = ended.models().values()
    assert set(rounds[0]["survivors"]) == set(SILOS) - {"north"}
    assert set(rounds[1]["survivors"]) == set(SILOS), "it rejoins"
    assert assert_no_mask_reused(ended.record, dict.fromkeys(SILOS, 1)) >= 4 * 3 - 1
