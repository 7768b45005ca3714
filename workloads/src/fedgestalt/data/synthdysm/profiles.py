"""Syndromes as profiles of HPO terms with frequencies: from HPO annotations, or invented."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from .hpo import exclusive, terms

MOST_SIMILAR_TO_TIERS = 0.5
"""Invented profiles stay below this weighted Jaccard index to every profile of every tier."""


@dataclass(frozen=True)
class Profile:
    """One syndrome: how often each HPO term is seen in a patient."""

    source: str
    terms: Mapping[str, float]


def weighted_jaccard(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Sum of the smaller over the sum of the larger frequencies (Ruzicka similarity), in [0, 1]."""
    keys = sorted(a.keys() | b.keys())
    larger = sum(max(a.get(k, 0.0), b.get(k, 0.0)) for k in keys)
    return sum(min(a.get(k, 0.0), b.get(k, 0.0)) for k in keys) / larger if larger else 1.0


@lru_cache(maxsize=1)
def hpoa_release() -> str:
    """The HPO release that the vendored profiles derive from."""
    return str(_table()["release"])


@lru_cache(maxsize=1)
def _table() -> dict[str, object]:
    text = (files(__package__) / "assets" / "hpoa_profiles.json").read_text(encoding="utf-8")
    table: dict[str, object] = json.loads(text)
    return table


@lru_cache(maxsize=1)
def hpoa_profiles() -> tuple[Profile, ...]:
    """Profiles derived from HPO annotations, pairwise weighted Jaccard below .30, in the order tiers take them."""
    rows = _table()["profiles"]
    assert isinstance(rows, list)
    return tuple(Profile(str(source), {str(k): float(v) for k, v in p.items()}) for source, p in rows)


def invented_profiles(n: int, seed: int, avoid: Sequence[Profile] | None = None) -> tuple[Profile, ...]:
    """Random combinations of HPO terms.

    Args:
        n: how many.
        seed: the same seed gives the same profiles.
        avoid: profiles to stay clear of (weighted Jaccard below .5 with each); the default is all that tiers use.
    """
    avoided = hpoa_profiles() if avoid is None else tuple(avoid)
    names = sorted(terms())
    rng = np.random.default_rng([seed, 0x1A9])
    out: list[Profile] = []
    while len(out) < n:
        size = int(np.clip(rng.poisson(8), 5, 16))
        chosen: list[str] = []
        for index in rng.permutation(len(names)):
            candidate = names[index]
            if not any(candidate in group and group & set(chosen) for group in exclusive()):
                chosen.append(candidate)
            if len(chosen) == size:
                break
        shares = np.clip(rng.beta(2.2, 1.2, size), 0.15, 0.97)
        profile = {curie: round(float(share), 3) for curie, share in sorted(zip(chosen, shares, strict=True))}
        if all(weighted_jaccard(profile, other.terms) < MOST_SIMILAR_TO_TIERS for other in avoided):
            out.append(Profile(f"invented:{seed}:{len(out)}", profile))
    return tuple(out)
