"""Random kills, spread over as many rounds as it takes: ``python tests/chaos/run_chaos.py 100 --seed 7``.

Who dies and when follows from the seed; what is alive then does not, so a repetition is alike, not the same. Each round
must succeed with the model of the undisturbed one, and no mask may be used twice. Exit code 0 if all did.
"""

import argparse
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.harness import Ended, Federation, Setting, run
from chaos.sent import assert_no_mask_reused

KILLS_PER_ROUND = 10
FIRST = (0.0, 15.0)
PAUSE = (0.5, 6.0)
# The short-lived ones count more often: they are seldom there to be hit.
KINDS = ("driver", "exchange", *["agent"] * 2, *["trainer"] * 2, *["encoder"] * 4, *["job"] * 4)
SETTING = Setting(rounds=4)
ROUND_SECONDS = 300.0


class Killer:
    """Called again and again while a federation runs; kills a random process at random times."""

    def __init__(self, federation: Federation, choice: random.Random, most: int) -> None:
        self._federation, self._choice, self._left = federation, choice, most
        self._begun = time.monotonic()
        self._next = self._begun + choice.uniform(*FIRST)
        self.killed: list[str] = []

    def __call__(self) -> None:
        if not self._left or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._choice.uniform(*PAUSE)
        by_kind: dict[str, list[tuple[str, int]]] = {}
        for pid, role in self._federation.processes().items():
            by_kind.setdefault(role.partition(":")[0], []).append((role, pid))
        # First the kind, then one of its kind: otherwise four agents and four trainers would draw most of the fire.
        alive = [kind for kind in KINDS if kind in by_kind]
        if not alive:
            return
        kind = self._choice.choice(alive)
        role, pid = self._choice.choice(sorted(by_kind[kind]))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._left -= 1
        self.killed.append(role)
        print(f"    {time.monotonic() - self._begun:6.1f} s  {role}", flush=True)


def fault_of(ended: Ended, undisturbed: Ended) -> str:
    """What is wrong with a round; empty if nothing is."""
    if ended.phase != "Succeeded":
        return f"ended in {ended.phase or 'a failure of the driver'}:\n{ended.log()}"
    assert ended.outcome is not None
    if ended.models() != undisturbed.models():
        return f"other survivors or models: {ended.models()} instead of {undisturbed.models()}"
    weights = {name: facts["weight"] for name, facts in ended.outcome["manifest"]["roster"].items()}
    try:
        count = assert_no_mask_reused(ended.record, weights)
    except AssertionError as error:
        return f"a mask was used twice: {error}"
    print(f"    {ended.seconds:.0f} s, same model, {count} masked vectors, no mask twice", flush=True)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kills", type=int, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=None, help="of victims and times; random if absent")
    parser.add_argument("--limit", type=float, default=1500.0, help="seconds after which no new round begins")
    parser.add_argument("--keep", type=Path, default=None, help="keep the rounds' folders here")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is ended on the way out
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    choice = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="chaos-")) if arguments.keep is None else arguments.keep
    begun = time.monotonic()
    killed: Counter[str] = Counter()
    faults: list[str] = []
    rounds = 0
    print(f"seed {seed}", flush=True)
    undisturbed = run(folder / "undisturbed", setting=SETTING, limit=ROUND_SECONDS)
    if undisturbed.phase != "Succeeded":
        print(f"the undisturbed round does not succeed:\n{undisturbed.log()}")
        return 1
    print(f"undisturbed: {undisturbed.seconds:.0f} s", flush=True)
    while killed.total() < arguments.kills and time.monotonic() - begun < arguments.limit:
        rounds += 1
        print(f"round {rounds}", flush=True)
        federation = Federation(folder / f"round-{rounds}", setting=SETTING)
        killer = Killer(federation, choice, min(KILLS_PER_ROUND, arguments.kills - killed.total()))
        try:
            fault = fault_of(federation.finish(ROUND_SECONDS, killer), undisturbed)
        except AssertionError as error:
            fault = str(error)
        killed.update(role.partition(":")[0] for role in killer.killed)
        if fault:
            faults.append(f"round {rounds}: {fault}")
            print(f"    {fault}", flush=True)
    enough = killed.total() >= arguments.kills
    by_role = ", ".join(f"{role} {count}" for role, count in sorted(killed.items()))
    print(
        f"seed {seed}: {killed.total()} kills ({by_role}) in {rounds} rounds, {time.monotonic() - begun:.0f} s"
    )
    print(
        f"{rounds - len(faults)} of {rounds} rounds succeeded with the undisturbed model and no mask used twice"
    )
    if not enough:
        print(f"only {killed.total()} of {arguments.kills} kills fitted into {arguments.limit:.0f} s")
    if arguments.keep is None and not faults:
        shutil.rmtree(folder)
    else:
        print(f"the rounds are kept in {folder}")
    return 0 if enough and not faults else 1


if __name__ == "__main__":
    sys.exit(main())
