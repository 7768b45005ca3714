"""What each renderable HPO term does to a face, and patients' phenotypes drawn from a syndrome's profile."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from .assets import load_head
from .effects import EFFECTS
from .params import Recipe

GAIN = 1.4
"""Severity of features where nothing else is said; morphs are capped, so that more of it bends no mesh out of shape."""
_MOST_TERMS = 4.5
"""Sum of severities above which all are damped, so that long profiles do not explode."""
_MOST_MORPH, _MOST_SKULL_MORPH = 1.5, 1.15


@dataclass(frozen=True)
class Term:
    """One HPO term: its label, mesh morphs and paint effects at severity 1."""

    curie: str
    name: str
    morphs: Mapping[str, float]
    paint: Mapping[str, float]


@dataclass(frozen=True)
class Phenotype:
    """The terms that one patient shows, with their severities (1 = typical), in a fixed order."""

    terms: tuple[tuple[str, float], ...]
    seed: int

    def severity(self, curie: str) -> float:
        """Severity of a term, 0 where absent."""
        return dict(self.terms).get(curie, 0.0)


@lru_cache(maxsize=1)
def _document() -> dict[str, object]:
    text = (files(__package__) / "assets" / "hpo_effects.json").read_text(encoding="utf-8")
    document: dict[str, object] = json.loads(text)
    return document


@lru_cache(maxsize=1)
def terms() -> Mapping[str, Term]:
    """All renderable terms by CURIE, sorted; the order is that of the label vectors."""
    raw = _document()["terms"]
    assert isinstance(raw, dict)
    out = {}
    for curie, entry in sorted(raw.items()):
        morphs = {}
        for name, amount in entry.get("morphs", {}).items():
            for side in ("l", "r") if name.startswith("*-") else ("",):
                morphs[side + name[1:] if side else name] = float(amount)
        out[curie] = Term(curie, entry["name"], morphs, entry.get("paint", {}))
    unknown = {m for t in out.values() for m in t.morphs} - set(load_head().detail)
    if unknown:
        raise ValueError(f"hpo_effects.json names morphs that the head does not have: {sorted(unknown)}")
    return out


@lru_cache(maxsize=1)
def exclusive() -> tuple[frozenset[str], ...]:
    """Groups of terms of which a patient shows at most one."""
    raw = _document()["exclusive"]
    assert isinstance(raw, list)
    return tuple(frozenset(group) for group in raw)


def sample_phenotype(profile: Mapping[str, float], seed: int, gain: float = GAIN) -> Phenotype:
    """Draw a patient: each term is present with the root of its frequency (patients are chosen for their
    gestalt), severity is normal around the gain.

    Of contradictory terms the one that the profile favours is kept.
    """
    rng = np.random.default_rng([seed, 0x9E0])
    present: dict[str, float] = {}
    for curie in sorted(profile):
        severity = float(np.clip(rng.normal(1, 0.25), 0.45, 1.6)) * gain
        if rng.random() < profile[curie] ** 0.5:
            present[curie] = severity
    for group in exclusive():
        rivals = sorted(group & present.keys())
        if len(rivals) > 1:
            kept = max(rivals, key=lambda curie: profile[curie] + rng.random() * 0.2)
            for curie in rivals:
                if curie != kept:
                    del present[curie]
    total = sum(present.values())
    most = _MOST_TERMS * gain
    damping = (most / total) ** 0.5 if total > most else 1.0
    return Phenotype(tuple((curie, severity * damping) for curie, severity in present.items()), seed)


def apply_phenotype(recipe: Recipe, phenotype: Phenotype) -> None:
    """Change *recipe* in place by every term of *phenotype*, then keep morphs within what the mesh bears."""
    known = terms()
    for curie, severity in phenotype.terms:
        for name, amount in known[curie].morphs.items():
            recipe.morphs[name] = recipe.morphs.get(name, 0.0) + amount * severity
        for effect, amount in known[curie].paint.items():
            EFFECTS[effect](recipe, amount, severity, np.random.default_rng([phenotype.seed, 0x9A1]))
    for name, amount in recipe.morphs.items():
        most = _MOST_SKULL_MORPH if name.startswith(("head", "forehead", "neck")) else _MOST_MORPH
        recipe.morphs[name] = float(np.clip(amount, 0, most))
