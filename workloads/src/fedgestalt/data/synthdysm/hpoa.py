"""Rebuild the vendored profile table from the HPO's own files (`hp.obo`, `phenotype.hpoa`).

    python -m fedgestalt.data.synthdysm.hpoa hp.obo phenotype.hpoa OUT.json

Every annotation of an OMIM disease is carried to its nearest renderable ancestor, with its frequency.
"""

import json
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from .hpo import terms
from .profiles import Profile, weighted_jaccard

_FREQUENCY = {
    "HP:0040280": 1.0,
    "HP:0040281": 0.9,
    "HP:0040282": 0.55,
    "HP:0040283": 0.17,
    "HP:0040284": 0.03,
    "HP:0040285": 0.0,
}
"""Middle of the ranges that the HPO gives for obligate, very frequent, frequent, occasional, very rare, excluded."""
_UNKNOWN = 0.7
LEAST_TERMS = 5
RICH_TERMS = 6
MOST_OVERLAP = 0.30
ORDER_SEED = 20250116


def parents(obo: Iterable[str]) -> dict[str, list[str]]:
    """is_a parents of every term of an OBO file."""
    out: dict[str, list[str]] = {}
    current = ""
    for line in obo:
        if line.startswith("id: "):
            current = line[4:].strip()
        elif line.startswith("is_a: "):
            out.setdefault(current, []).append(line[6:16])
    return out


def nearest_renderable(term: str, up: Mapping[str, list[str]]) -> str | None:
    """Breadth-first upwards; ties go to the smaller id, so that the table does not depend on file order."""
    known, queue, seen = terms(), deque([[term]]), {term}
    while queue:
        level = sorted(queue.popleft())
        for candidate in level:
            if candidate in known:
                return candidate
        above = sorted({p for t in level for p in up.get(t, ())} - seen)
        seen.update(above)
        if above:
            queue.append(above)
    return None


def frequency(text: str) -> float:
    """Frequency column of phenotype.hpoa: a term, `n/m`, `x%` or nothing. Small samples are drawn towards 0.7."""
    if text in _FREQUENCY:
        return _FREQUENCY[text]
    if "/" in text:
        shown, asked = (int(part) for part in text.split("/"))
        share = shown / max(asked, 1)
        return 0.5 * share + 0.35 if asked < 3 else share
    if text.endswith("%"):
        return float(text[:-1]) / 100
    return _UNKNOWN


def read_profiles(obo: Path, annotations: Path, least_terms: int = LEAST_TERMS) -> list[Profile]:
    """Every OMIM disease with at least *least_terms* renderable terms, sorted by id."""
    with obo.open(encoding="utf-8") as lines:
        up = parents(lines)
    memo: dict[str, str | None] = {}
    found: dict[str, dict[str, float]] = {}
    with annotations.open(encoding="utf-8") as lines:
        for line in lines:
            field = line.rstrip("\n").split("\t")
            if line.startswith(("#", "database_id")) or len(field) < 8 or field[2] == "NOT":
                continue
            if not field[0].startswith("OMIM:"):
                continue
            if field[3] not in memo:
                memo[field[3]] = nearest_renderable(field[3], up)
            target, share = memo[field[3]], frequency(field[7])
            if target is not None and share >= 0.1:
                profile = found.setdefault(field[0], {})
                profile[target] = round(max(profile.get(target, 0.0), min(share, 0.97)), 3)
    return [
        Profile(source, dict(sorted(p.items())))
        for source, p in sorted(found.items())
        if len(p) >= least_terms
    ]


def choose(profiles: list[Profile], most_overlap: float = MOST_OVERLAP) -> list[Profile]:
    """Visit the profiles in a fixed random order and keep each that overlaps little with all kept so far.

    Profiles of fewer than six terms come last: only the tail of the largest tier needs them.
    """
    shuffled = [int(index) for index in np.random.default_rng(ORDER_SEED).permutation(len(profiles))]
    order = sorted(shuffled, key=lambda index: len(profiles[index].terms) < RICH_TERMS)
    kept: list[Profile] = []
    for index in order:
        candidate = profiles[index]
        if all(weighted_jaccard(candidate.terms, other.terms) < most_overlap for other in kept):
            kept.append(candidate)
    return kept


def version(annotations: Path) -> str:
    """Release date stated in the header of phenotype.hpoa."""
    with annotations.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#version:"):
                return line.split(":", 1)[1].strip()
    raise ValueError(f"{annotations}: no '#version:' line in the header; is this a phenotype.hpoa file?")


def write_table(obo: Path, annotations: Path, out: Path) -> int:
    """Write the table; returns how many profiles it holds."""
    chosen = choose(read_profiles(obo, annotations))
    rows = ",\n".join(f"    {json.dumps([p.source, p.terms])}" for p in chosen)
    release = json.dumps(f"HPO {version(annotations)}")
    out.write_text(f'{{\n  "release": {release},\n  "profiles": [\n{rows}\n  ]\n}}\n', encoding="utf-8")
    return len(chosen)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: python -m fedgestalt.data.synthdysm.hpoa hp.obo phenotype.hpoa OUT.json")
    print(write_table(*(Path(argument) for argument in sys.argv[1:])), "profiles")
