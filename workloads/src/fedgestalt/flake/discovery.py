"""Discovery: undiagnosed patients of several hospitals who look alike may share a syndrome nobody has named yet.

Clusters are found by average linkage (Sokal and Michener 1958) on cosines, cut where chance would hardly ever make
one. Chance is measured, not assumed: `chance.Chance` counts in the diagnosed gallery how often patients of different
hospitals and syndromes are alike to a degree. By the a-contrario rule (Desolneux, Moisan and Morel, From Gestalt
Theory to Image Analysis, 2008) the cut is the least similarity at which, among the undiagnosed rows, at most so many
are expected by chance as `expected` says of

- triples of three owners, all three pairs alike: each cluster must have such a triple, which bounds the clusters that
  are nothing but chance;
- strangers beside any one case: which bounds those that a true cluster picks up, and with them the false third owner
  of a syndrome that only two have.

`docs/decisions/011-discovery.md` compares this with HDBSCAN*.

An owner learns of a cluster (`finding.Finding`): which of its own cases are in it, a handle of its own to answer
with, and in coarse bands how many owners and cases there are and how strong it is. Nothing names anyone else;
`consent` says how owners get in touch.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedgestalt.flake.chance import Chance, centred, closing_triples, cosines
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.finding import COHESION_STEPS, MOST_CASES, Cluster
from fedgestalt.flake.rows import UndiagnosedRows
from fedgestalt.flake.tokens import MIN_KEY_BYTES

#: The fewest owners of a cluster: with two, each would know whose the other cases are.
MIN_OWNERS: Final = 3
#: The most undiagnosed rows that are compared at once; their cosines take 8 bytes a pair.
MOST_ROWS: Final = MOST_CASES


def discover(
    rows: Mapping[str, UndiagnosedRows],
    chance: Chance,
    *,
    key: bytes,
    min_owners: int = MIN_OWNERS,
    expected: float = 0.3,
) -> list[Cluster]:
    """Find clusters of undiagnosed cases that reach over several owners, the strongest first.

    Args:
        rows: the undiagnosed rows of each owner, of length one and masked by the frame of the epoch.
        chance: `Chance.measure` of the diagnosed rows under the same frame. Where fewer
            than a hundred triples of strangers can be counted, nothing is found.
        key: at least 32 secret bytes that the job draws anew for every epoch, so that handles do not link epochs.
        min_owners: the fewest owners of a cluster, at least 3.
        expected: how many clusters of strangers, and strangers beside a case, may be expected by chance.

    Raises:
        FlakeError: rows that do not fit together, too many of them, or an argument out of its range.
    """
    _check_arguments(key, min_owners, expected)
    owners = sorted(owner for owner, part in rows.items() if len(part.rows))
    count = sum(len(rows[owner].rows) for owner in owners)
    if count > MOST_ROWS:
        raise FlakeError(f"{count} undiagnosed rows; discovery compares at most {MOST_ROWS} at once")
    if len(owners) < min_owners:
        return []
    # A fixed order, by owner and handle, so that the answer does not depend on how the rows came in.
    names = [
        (owner, handle) for owner in owners for handle in sorted(h.tobytes() for h in rows[owner].handles)
    ]
    width = {len(chance.centre)} if chance.centre is not None else set()
    width |= {rows[owner].rows.shape[1] for owner in owners}
    if len(width) > 1:
        raise FlakeError(
            f"rows of several widths, {sorted(width)}; undiagnosed and gallery rows share one frame"
        )
    cases = np.concatenate([_by_handle(rows[owner]) for owner in owners])
    owner = np.repeat(np.arange(len(owners)), [len(rows[name].rows) for name in owners])
    triples = _triples(np.bincount(owner))
    cut = max(chance.triples.cut(expected / triples), chance.pairs.cut(expected / count))
    if chance.centre is None or not np.isfinite(cut):
        return []
    alike = cosines(centred(cases, chance.centre))
    found = []
    for place in average_linkage(alike, cut):
        if len(np.unique(owner[place])) < min_owners:
            continue
        apart = owner[place][:, None] != owner[place][None]
        best = next(closing_triples(alike[np.ix_(place, place)], apart, cut), None)
        if best is None:
            continue
        luck = triples * chance.triples.probability(best[0])
        cohesion = 1 + sum(luck * step > expected for step in COHESION_STEPS)
        members = tuple(names[i] for i in place)
        found.append((luck, -best[0], members, Cluster(_cluster_key(key, members), members, cohesion)))
    return [cluster for *_, cluster in sorted(found, key=lambda each: each[:3])]


def average_linkage(alike: NDArray[np.float64], cut: float) -> list[NDArray[np.intp]]:
    """Merge the two groups with the largest mean similarity until none is at or above the cut.

    Nearest-neighbour chains (Murtagh 1983): O(n^2) time, and one more matrix of n^2 numbers. A group whose nearest
    other is below the cut is finished: a mean never exceeds the larger of the two that it is made of.

    Args:
        alike: symmetric similarities [n, n].
        cut: the least mean similarity of a merge.

    Returns:
        The groups' places, each ascending, in order of their first.
    """
    work = alike.copy()
    np.fill_diagonal(work, -np.inf)
    groups: dict[int, list[int]] = {i: [i] for i in range(len(work))}
    waiting = set(groups)
    chain: list[int] = []
    while waiting:
        if not chain:
            chain.append(min(waiting))
        top = chain[-1]
        near = int(np.argmax(work[top]))
        if len(chain) > 1 and work[top, chain[-2]] >= work[top, near]:
            near = chain[-2]  # of equals the one before, or the chain would run in a circle
        if work[top, near] < cut:
            waiting.discard(top)
            chain.pop()
        elif len(chain) > 1 and near == chain[-2]:
            chain = chain[:-2]
            kept, gone = min(top, near), max(top, near)
            a, b = len(groups[kept]), len(groups[gone])
            work[kept] = work[:, kept] = (a * work[kept] + b * work[gone]) / (a + b)
            work[gone] = work[:, gone] = -np.inf
            work[kept, kept] = -np.inf
            groups[kept] += groups.pop(gone)
            waiting.discard(gone)
        else:
            chain.append(near)
    return [np.array(sorted(group), dtype=np.intp) for _, group in sorted(groups.items())]


def _by_handle(part: UndiagnosedRows) -> NDArray[np.float64]:
    order = sorted(range(len(part.handles)), key=lambda i: part.handles[i].tobytes())
    return part.rows[order]


def _triples(counts: NDArray[np.intp]) -> int:
    """How many triples of cases belong to three owners that have so many cases each (Newton's identity)."""
    first, second, third = (sum(int(n) ** power for n in counts) for power in (1, 2, 3))
    return (first**3 - 3 * first * second + 2 * third) // 6


def _cluster_key(key: bytes, members: tuple[tuple[str, bytes], ...]) -> bytes:
    text = b"".join(
        len(name.encode()).to_bytes(2, "big") + name.encode() + handle for name, handle in members
    )
    return hmac.new(key, b"fedgestalt/flake/cluster/v1\0" + text, hashlib.sha256).digest()


def _check_arguments(key: bytes, min_owners: int, expected: float) -> None:
    if len(key) < MIN_KEY_BYTES:
        raise FlakeError(f"the cluster key needs at least {MIN_KEY_BYTES} bytes, not {len(key)}")
    if min_owners < MIN_OWNERS:
        raise FlakeError(f"a cluster needs at least {MIN_OWNERS} owners, not {min_owners}")
    if not 0 < expected <= 100:
        raise FlakeError(f"expected lies above 0 and at most at 100, not at {expected}")
