"""Evaluation where the embeddings are at hand: centralised, local-only and start.

The same kernel, contributions and summary as for the federation, with one party and no frame, so that arms
differ in their embeddings only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedgestalt.evaluation.contributions import Case, contributions
from fedgestalt.evaluation.layout import Layout
from fedgestalt.evaluation.protocol import EvaluationError
from fedgestalt.evaluation.table import EvaluationTable, summarise
from fedgestalt.flake.gram import DEFAULT_BUDGET
from fedgestalt.flake.mask import unit_rows
from fedgestalt.flake.match import Kernel
from fedgestalt.flake.tokens import TOKEN_BYTES
from fedgestalt.flake.upload import sort_rows


def evaluate_plaintext(
    embeddings: NDArray[np.floating[Any]],
    syndromes: Sequence[str | None],
    patients: Sequence[str],
    roles: Sequence[str],
    test_splits: Sequence[Sequence[int]],
    layout: Layout,
    *,
    seed: int,
    budget: int = DEFAULT_BUDGET,
) -> EvaluationTable:
    """Rank every test photo by plain cosine and return the accuracies.

    Args:
        embeddings: [n, d] of length one (tolerance 1e-6), any floating type.
        syndromes: the identifier per photo; None or "" for an undiagnosed one.
        patients: per photo; the bootstrap resamples patients.
        roles: train, test, rotating or undiagnosed, as in the cohort's manifest.
        test_splits: for rotating photos the splits in which they are tests.
        layout: which syndromes are frequent or rare, splits and replicates.
        seed: of the bootstrap.
        budget: bytes for temporary arrays.

    Raises:
        FlakeError, EvaluationError: input that does not fit; the message says what.
    """
    vector = plaintext_contributions(
        embeddings, syndromes, patients, roles, test_splits, layout, seed=seed, budget=budget
    )
    return summarise(vector, layout)


def plaintext_contributions(
    embeddings: NDArray[np.floating[Any]],
    syndromes: Sequence[str | None],
    patients: Sequence[str],
    roles: Sequence[str],
    test_splits: Sequence[Sequence[int]],
    layout: Layout,
    *,
    seed: int,
    budget: int = DEFAULT_BUDGET,
) -> NDArray[np.uint32]:
    """Return the contribution vector of one party that holds everything; see `evaluate_plaintext`."""
    if len(patients) != len(syndromes):
        raise EvaluationError(f"{len(patients)} patients but {len(syndromes)} syndromes: give one per photo")
    tokens = {
        syndrome: i.to_bytes(TOKEN_BYTES, "big") for i, syndrome in enumerate((*layout.trained, *layout.rare))
    }
    outside = sorted({s for s in syndromes if s and s not in tokens})
    if outside:
        raise EvaluationError(
            f"{len(outside)} syndromes are not in the vocabulary of the layout: {', '.join(outside[:10])}"
        )
    handles = [i.to_bytes(TOKEN_BYTES, "big") for i in range(len(syndromes))]
    rows = sort_rows(
        unit_rows(embeddings, "embeddings"),
        tokens=[tokens[s] if s else None for s in syndromes],
        handles=handles,
        roles=roles,
        test_splits=test_splits,
        splits=layout.splits,
    )
    kernel = Kernel(budget=budget)
    kernel.put("all", rows)
    cases = {h: Case(s or "", p) for h, s, p in zip(handles, syndromes, patients, strict=True)}
    return contributions(kernel.rankings("all"), cases, tokens, layout, seed)
