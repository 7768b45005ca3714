"""Which patients of a synthetic tier nobody has diagnosed yet: material for discovery, with the truth kept apart.

Some rare syndromes are held out as a whole: no hospital has a name for them. One patient of every other rare syndrome is a
stranger among them, as most undiagnosed patients are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fedgestalt.files import write_atomic

from .errors import CohortError
from .synthdysm.photos import derive_seed
from .tiers import PlannedPatient

TRUTH: Final = "undiagnosed.json"
MOST: Final = 0.9
_LEAST_LEFT: Final = 4
"""Patients of a rare syndrome from which one may be taken: each numbered split must have tests and gallery still."""


@dataclass(frozen=True)
class Undiagnosed:
    """Patients without a diagnosis.

    Attributes:
        names: planned name -> the name in the manifests, which says nothing of the syndrome.
        held_out: syndromes that no diagnosed patient has.
    """

    names: Mapping[str, str]
    held_out: tuple[str, ...]


def choose(planned: Sequence[PlannedPatient], fraction: float, seed: int) -> Undiagnosed:
    """Hold out a fraction of the rare syndromes (at least one, never all), and take one stranger of each other one.

    Args:
        fraction: 0 for none, at most `MOST`.
        seed: of the cohort.

    Raises:
        ValueError: the fraction is out of range.
    """
    if not 0 <= fraction <= MOST:
        raise ValueError(f"undiagnosed lies between 0 and {MOST}, not at {fraction}")
    rare = sorted({p.syndrome.name for p in planned if p.syndrome.rare})
    if fraction == 0 or len(rare) < 2:
        return Undiagnosed({}, ())
    rng = np.random.default_rng([derive_seed("undiagnosed", seed)])
    order = [rare[i] for i in rng.permutation(len(rare))]
    held = order[: min(max(1, round(fraction * len(rare))), len(rare) - 1)]
    chosen = [p.name for p in planned if p.syndrome.name in held]
    for syndrome in order[len(held) :]:
        patients = [p.name for p in planned if p.syndrome.name == syndrome]
        if len(patients) >= _LEAST_LEFT:
            chosen.append(patients[int(rng.integers(len(patients)))])
    shuffled = [chosen[i] for i in rng.permutation(len(chosen))]
    return Undiagnosed(
        {name: f"U-{number:03d}" for number, name in enumerate(shuffled, 1)}, tuple(sorted(held))
    )


def write_truth(out: Path, chosen: Undiagnosed, planned: Sequence[PlannedPatient]) -> None:
    """Write what the undiagnosed patients have into the federation's folder, where no hospital's cohort is."""
    patients = {chosen.names[p.name]: p.syndrome.name for p in planned if p.name in chosen.names}
    content = {"heldOut": list(chosen.held_out), "patients": dict(sorted(patients.items()))}
    write_atomic(out / TRUTH, json.dumps(content, indent=2).encode(), mode=0o644)


def read_truth(out: Path) -> tuple[dict[str, str], frozenset[str]]:
    """The syndrome of each undiagnosed patient, and the syndromes that were held out.

    Raises:
        CohortError: the folder has no such file, or a damaged one.
    """
    try:
        content = json.loads((out / TRUTH).read_text())
        return {str(k): str(v) for k, v in content["patients"].items()}, frozenset(content["heldOut"])
    except OSError as error:
        raise CohortError(
            out, [f"no {TRUTH} in it; make a cohort with `fedgestalt synth --undiagnosed 0.25`"]
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CohortError(out, [f"{TRUTH} is damaged ({error}); remove the folder"]) from error
