"""The numeric workload of the end-to-end tests, with vectors of any size and, if wanted, a trainer that never repeats.

    python numeric_workload.py [--size N] [--unsteady] train|encode --task FILE

``--size`` sets the numbers of the extractor's first tensor, for links that take their time. ``--unsteady`` gives other
updates after every restart, as a GPU may: whoever masks them twice in one try breaks the one-time pad.
"""

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

import numeric_trainer

BIG = "extractor.conv.weight"


def main() -> None:
    words = sys.argv[1:-3]
    plain = numeric_trainer.update
    start = numeric_trainer.start
    if "--size" in words:
        size = int(words[words.index("--size") + 1])

        def sized(member: str) -> dict[str, np.ndarray]:
            choice = numeric_trainer.rng("start", member, BIG)
            return start(member) | {BIG: choice.standard_normal(size, dtype=np.float32)}

        numeric_trainer.start = sized
    if "--unsteady" in words:

        def unsteady(seed: bytes, member: str, t: int) -> dict[str, np.ndarray]:
            return plain(seed + os.urandom(8), member, t)

        numeric_trainer.update = unsteady
    sys.argv[1:] = sys.argv[-3:]
    numeric_trainer.main()


if __name__ == "__main__":
    main()
