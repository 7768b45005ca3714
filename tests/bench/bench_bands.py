"""Where the limits of the bands lie among the similarities of a demonstration's photos (synthetic faces).

    python tests/bench/bench_bands.py fedgestalt-demo

Reads the masked rows and the cases that the silos of a finished demonstration keep; masking keeps cosines.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from fedgestalt.flake.bands import LIMITS
from fedgestalt.flake.codec import MAGIC
from fedgestalt.flake.rows import SiloRows

QUANTILES = (1, 5, 25, 50, 75, 95, 99)


def silo_rows(folder):
    """The rows that a silo uploaded, from its spool."""
    for path in sorted(folder.glob("spool/*")):
        data = path.read_bytes()
        if data.startswith(MAGIC):
            return SiloRows.decode(data)
    raise SystemExit(f"{folder}: no rows here; give the folder of a finished demonstration")


def show(name, cosines):
    values = "  ".join(f"{value:6.3f}" for value in np.percentile(cosines, QUANTILES))
    print(f"  {name:44s} {len(cosines):6d}  {values}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, help="folder of a finished `fedgestalt demo`")
    folder = parser.parse_args().directory
    silos = []
    for cases in sorted(folder.glob("federation/silos/*/work/*/matching/cases.json")):
        silos.append((silo_rows(cases.parents[1]), json.loads(cases.read_text())))
    if not silos:
        raise SystemExit(f"{folder}: no silos here; give the folder of a finished demonstration")
    same, nearest, ranks = [], [], {5: [], 10: [], 20: [], 30: []}
    for place, (rows, cases) in enumerate(silos):
        names = [cases[handle.tobytes().hex()][1] for handle in rows.test.handles]
        for a, b in itertools.combinations(range(len(names)), 2):
            if names[a] == names[b]:
                same.append(float(rows.test.rows[a] @ rows.test.rows[b]))
        others = [other.gallery for index, (other, _) in enumerate(silos) if index != place]
        scores = rows.test.rows @ np.concatenate([gallery.rows for gallery in others]).T
        nearest.extend(scores.max(axis=1))
        tokens = np.concatenate([gallery.tokens for gallery in others])
        _, column = np.unique(tokens, axis=0, return_inverse=True)
        order = np.argsort(column.reshape(-1), kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(column.reshape(-1)[order]) > 0])
        best = -np.sort(-np.maximum.reduceat(scores[:, order], starts, axis=1), axis=1)
        for rank, found in ranks.items():
            found.extend(best[:, rank - 1])
    print(f"cosines; percentiles {QUANTILES}")
    show("two photos of one person", same)
    show("nearest photo of somebody in another silo", nearest)
    for rank, found in ranks.items():
        show(f"nearest photo of the syndrome of rank {rank}", found)
    for limit in reversed(LIMITS):
        shares = [100 * np.mean(np.array(found) >= limit) for found in (same, nearest, *ranks.values())]
        print(
            f"  from {limit}: {shares[0]:.0f} % of pairs of one person, {shares[1]:.0f} % of the nearest of others, "
            + ", ".join(f"rank {rank} {share:.0f} %" for rank, share in zip(ranks, shares[2:], strict=True))
        )


if __name__ == "__main__":
    main()
