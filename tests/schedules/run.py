"""Many random schedules at once: ``python -m tests.schedules.run 10000``; one again: ``--seed N --verbose``.

A schedule follows from its seed alone. Exit code 0 if everything held in all of them.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter

from .schedule import Outcome, play

CHUNK = 10


def main() -> int:
    """Play, report progress, list the seeds that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--verbose", action="store_true", help="say what happens (with --seed)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _one(arguments.seed, verbose=arguments.verbose)
    return _many(range(arguments.first, arguments.first + arguments.count), arguments.processes)


def _one(seed: int, *, verbose: bool) -> int:
    outcome = play(seed, log=print if verbose else lambda line: None)
    print(f"seed {seed}: {outcome.problem or 'everything held'} (the round: {outcome.reason or 'not over'})")
    return 1 if outcome.problem else 0


def _many(seeds: range, processes: int) -> int:
    print(f"schedules {seeds.start} to {seeds.stop - 1} in {processes} processes", flush=True)
    endings: Counter[str] = Counter()
    failed: list[Outcome] = []
    begun = told = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, outcome in enumerate(pool.imap_unordered(play, seeds, CHUNK), 1):
            endings[outcome.reason] += 1
            if outcome.problem:
                failed.append(outcome)
                print(f"\nseed {outcome.seed}: {outcome.problem[:400]}", flush=True)
            if time.monotonic() - told > (1.0 if sys.stderr.isatty() else 15.0) or done == len(seeds):
                told = time.monotonic()
                rate = done / (told - begun)
                print(f"{done}/{len(seeds)} schedules, {rate:.0f} a second, {len(failed)} failed", flush=True)
    print("ends:", ", ".join(f"{reason or 'none'} {n}" for reason, n in endings.most_common()))
    for outcome in failed[:20]:
        print(f"again: python -m tests.schedules.run --seed {outcome.seed} --verbose")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
