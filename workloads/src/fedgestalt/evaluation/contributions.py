"""An owner scores its own test photos: integer contributions that add up to the global result.

The macro average needs, per syndrome, hits and tests over all silos. Each owner counts its own; the sum over
silos, done by secure aggregation modulo 2^32, is the global table, from which everybody gets the same
accuracies. What the sum says to the silos: hits and tests per syndrome of the whole federation. What it does
not say: which silo they came from. The hub sees masked numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedgestalt.evaluation.bootstrap import patient_weights
from fedgestalt.evaluation.layout import Layout
from fedgestalt.evaluation.protocol import KS, SETTINGS, EvaluationError
from fedgestalt.flake.rankings import NO_TOKEN, Rankings


class Case(NamedTuple):
    """What only the owner of a test photo knows about it."""

    syndrome: str
    patient: str


class Ranks(NamedTuple):
    """The rank of the right syndrome per question, from 0, int64 [q]; beyond every k if it is absent."""

    among_all: NDArray[np.int64]
    among_group: NDArray[np.int64]


def contributions(
    rankings: Rankings,
    cases: Mapping[bytes, Case],
    tokens: Mapping[str, bytes],
    layout: Layout,
    seed: int,
) -> NDArray[np.uint32]:
    """Return one owner's contribution vector in the order of `layout`.

    Args:
        rankings: the kernel's answer for this owner.
        cases: syndrome and patient by the handle of each of the owner's test photos.
        tokens: the label token of every syndrome of the layout.
        layout: agreed by all silos.
        seed: of the bootstrap, public and the same for all silos.

    Raises:
        EvaluationError: an answer with unknown photos or syndromes, or a test of a syndrome that is not in
            the layout.
    """
    syndromes = (*layout.trained, *layout.rare)
    missing = [s for s in syndromes if s not in tokens]
    if missing:
        raise EvaluationError(f"no label token for {len(missing)} syndromes: {', '.join(missing[:10])}")
    try:
        of_row = [cases[handle.tobytes()] for handle in rankings.handles]
    except KeyError:
        raise EvaluationError(
            "the rankings answer for a photo that is not one of this owner's tests"
        ) from None
    place = {syndrome: i for i, syndrome in enumerate(syndromes)}
    outside = sorted({case.syndrome for case in of_row} - set(place))
    if outside:
        raise EvaluationError(
            f"tests of {len(outside)} syndromes that are not in the vocabulary: {', '.join(outside[:10])}"
        )
    truth = np.array([place[case.syndrome] for case in of_row], dtype=np.int64)
    ranks = _ranks(rankings, _syndrome_of_token(rankings, tokens, place), truth, len(layout.trained))

    weights = {case.patient: patient_weights(seed, case.patient, layout.replicates) for case in of_row}
    weight = np.ones((len(of_row), layout.replicates + 1), dtype=np.uint32)
    for i, case in enumerate(of_row):
        weight[i, 1:] = weights[case.patient]

    vector = layout.zeros()
    views = layout.views(vector)
    split = rankings.split.astype(np.int64) - 1
    if np.any(split >= layout.splits):
        raise EvaluationError(f"the rankings have more numbered splits than the layout's {layout.splits}")
    trained = truth[rankings.row] < len(layout.trained)
    column = np.where(trained, truth[rankings.row], truth[rankings.row] - len(layout.trained))
    for name, group in (("counts_trained", trained), ("counts_rare", ~trained)):
        np.add.at(views[name], (split[group], column[group]), weight[rankings.row[group]])
    for setting in SETTINGS:
        rank = ranks.among_all if setting.among_all else ranks.among_group
        asked = trained if setting.tests == "trained" else ~trained
        if setting.once:
            asked = asked & (split == 0)
        for i, k in enumerate(KS):
            hit = asked & (rank < k)
            np.add.at(views[setting.name][i], (split[hit], column[hit]), weight[rankings.row[hit]])
    return vector


def _syndrome_of_token(
    rankings: Rankings, tokens: Mapping[str, bytes], place: Mapping[str, int]
) -> NDArray[np.int64]:
    """Return the syndrome's number for each token of the table, and -1 for the filler behind it."""
    known = {tokens[syndrome]: number for syndrome, number in place.items()}
    if len(known) != len(place):
        raise EvaluationError("two syndromes have the same label token; derive them from one key")
    try:
        numbers = [known[token.tobytes()] for token in rankings.tokens]
    except KeyError:
        raise EvaluationError(
            "the rankings name a label token that no syndrome of the vocabulary has"
        ) from None
    return np.array([*numbers, -1], dtype=np.int64)


def _ranks(
    rankings: Rankings, syndrome_of_token: NDArray[np.int64], truth: NDArray[np.int64], trained: int
) -> Ranks:
    none = len(rankings.tokens)
    order = np.where(rankings.order == NO_TOKEN, none, rankings.order).astype(np.int64)
    ranked = syndrome_of_token[order]  # [q, tokens], -1 behind the end
    right = truth[rankings.row]
    is_right = ranked == right[:, None]
    found = is_right.any(axis=1)
    position = is_right.argmax(axis=1) if none else np.zeros(len(right), dtype=np.int64)
    in_group = (ranked >= 0) & ((ranked < trained) == (right < trained)[:, None])
    before = np.arange(none) < position[:, None]
    absent = max(none, max(KS))  # a syndrome without a gallery photo is never a hit
    return Ranks(
        np.where(found, position, absent),
        np.where(found, (in_group & before).sum(axis=1), absent),
    )
