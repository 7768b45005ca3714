"""Hospitals on lines of 4 Mbit/s that break: uploads go on where they stopped and no communication round starts again."""

from collections import Counter
from pathlib import Path

import pytest

from fedgestalt.secagg.messages import Kind, Message

from .harness import SILOS, Setting, run
from .sent import assert_no_mask_reused, lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NUMBERS = 1_250_000
MEGABIT = 125_000
MIB = 2**20


def test_uploads_over_a_slow_line_that_breaks_resume(tmp_path: Path) -> None:
    # In the middle of a chunk of the masked update, and in the middle of one of the sum that comes back.
    link = {"rate": 4 * MEGABIT, "cut_up": [2.5 * MIB], "cut_down": [2.5 * MIB], "dark": 1.0}
    ended = run(tmp_path, setting=Setting(rounds=1, workload=("--size", str(NUMBERS)), link=link))
    assert ended.phase == "Succeeded", ended.log()
    assert ended.outcome is not None
    assert ended.outcome["cuts"] == dict.fromkeys(SILOS, 2)

    kinds = Counter(
        Message.decode(bytes.fromhex(line["envelope"])).slot.kind
        for line in lines(ended.record / "messages.jsonl")
    )
    assert not {Kind.RETRY, Kind.SKIP, Kind.VOID, Kind.FAULT} & set(kinds), kinds
    (rounds,) = ended.models().values()
    assert [set(at["survivors"]) for at in rounds] == [set(SILOS)]

    for name in SILOS:
        needed = sum(path.stat().st_size for path in (ended.record / "blobs" / f"silo.{name}").iterdir())
        assert needed > 4 * NUMBERS
        sent = ended.outcome["sent"][name]
        assert needed < sent < 1.2 * needed, f"{name}: {sent / needed:.2f} times what was needed"
    assert assert_no_mask_reused(ended.record, dict.fromkeys(SILOS, 1)) == 4 * 2
