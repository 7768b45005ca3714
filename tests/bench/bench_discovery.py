"""How well discovery finds held-out syndromes, and how often it tells of clusters that are none.

    python tests/bench/bench_discovery.py [COHORT] [--patients 8] [--held-out 10] [--draws 100]

COHORT is a folder of `fedgestalt synth` (without one, the script makes the demo tier, seed 11, in a temporary
folder). Every photo is encoded once with the start network that the package ships, not trained on any syndrome, and
masked by a frame. Then, draw by draw: of the rare syndromes some are held out, with so many patients each; every
other rare syndrome and every frequent one gives one patient as a distractor; all of them are undiagnosed. The
gallery, on which chance is measured, are the frequent syndromes' training photos.

Recall is over the held-out syndromes that three owners have. One is found if it is the majority of a cluster, with
cases of three owners. A cluster is false if its
majority syndrome makes up less than half of it or comes from fewer than two owners. The columns "permuted" repeat
the counts with the syndromes permuted over the undiagnosed photos: what luck gives. HDBSCAN* (Campello, Moulavi and
Sander 2013; excess of mass, smallest cluster 3) on the same cosines stands beside.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from fedgestalt.flake import Frame, GalleryRows, UndiagnosedRows, rotate
from fedgestalt.flake.chance import Chance, centred, cosines
from fedgestalt.flake.discovery import discover

EXTRACTOR, START = "resnet_s16", "resnet_s16-faces"
KEY = bytes(range(32))


def encoded(cohort, cache):
    """Embeddings, syndromes, patients, owners and roles of all photos; kept in the file `cache` if given."""
    if cache is not None and cache.exists():
        with np.load(cache, allow_pickle=False) as file:
            return [file[n] for n in ("embeddings", "syndromes", "patients", "owners", "roles")]
    import torch

    from fedgestalt.models.ensemble import Ensemble, Member
    from fedgestalt.models.registry import build_extractor
    from fedgestalt.models.weights import load_initial_weights
    from fedgestalt.training.photos import load_faces

    torch.set_num_threads(1)
    extractor = build_extractor(EXTRACTOR)
    load_initial_weights(extractor, START)
    extractor.eval()
    ensemble = Ensemble([Member("start", extractor)])
    parts = []
    for silo in sorted(p.parent for p in cohort.glob("*/manifest.csv")):
        faces = load_faces(silo, silo / "cache")
        said = [(p.syndrome or "", p.patient, silo.name, str(p.role)) for p in faces.photos]
        parts.append((ensemble.encode(faces.images), np.array(said)))
    said = np.concatenate([part[1] for part in parts])
    found = [np.concatenate([part[0] for part in parts]), *said.T]
    if cache is not None:
        np.savez(
            cache, **dict(zip(("embeddings", "syndromes", "patients", "owners", "roles"), found, strict=True))
        )
    return found


def hdbscan(alike, smallest=3, neighbours=2):
    """HDBSCAN* on distances 1 - cosine: groups of places, by excess of mass."""
    distance = 1.0 - alike
    np.fill_diagonal(distance, 0.0)
    core = np.sort(distance, axis=1)[:, neighbours]
    reach = np.maximum(distance, np.maximum(core[:, None], core[None]))
    n = len(reach)
    # Minimum spanning tree (Prim), then single linkage, the top node last.
    inside, best, parent, edges = np.zeros(n, bool), np.full(n, np.inf), np.zeros(n, int), []
    here = 0
    for _ in range(n - 1):
        inside[here] = True
        closer = ~inside & (reach[here] < best)
        best[closer], parent[closer] = reach[here][closer], here
        here = int(np.argmin(np.where(inside, np.inf, best)))
        edges.append((best[here], int(parent[here]), here))
    root, nodes, children, height = list(range(n)), [[i] for i in range(n)], {}, {}
    top = list(range(n))

    def find(i):
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for weight, i, j in sorted(edges):
        a, b = find(i), find(j)
        children[len(nodes)], height[len(nodes)] = (top[a], top[b]), weight
        nodes.append(nodes[top[a]] + nodes[top[b]])
        root[b], top[a] = a, len(nodes) - 1

    def condense(node, birth):
        """Return (stability of the best choice, its groups) for a cluster that is born at 1/distance `birth`."""
        cluster, stability, members = node, 0.0, nodes[node]
        while cluster >= n:
            left, right = children[cluster]
            level = 1.0 / max(height[cluster], 1e-12)
            if min(len(nodes[left]), len(nodes[right])) >= smallest:
                stability += len(nodes[cluster]) * (level - birth)
                below = [condense(left, level), condense(right, level)]
                split = sum(value for value, _ in below)
                if split > stability:
                    return split, [group for _, groups in below for group in groups]
                return stability, [members]
            large, small = (left, right) if len(nodes[left]) >= len(nodes[right]) else (right, left)
            if len(nodes[large]) < smallest:
                return stability + len(nodes[cluster]) * (level - birth), [members]
            stability += len(nodes[small]) * (level - birth)
            cluster = large
        return stability, [members]

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 4 * n))
    left, right = children[len(nodes) - 1]  # never everything as one cluster
    level = 1.0 / max(height[len(nodes) - 1], 1e-12)
    groups = []
    for child in (left, right):
        if len(nodes[child]) >= smallest:
            groups += condense(child, level)[1]
    return [np.array(sorted(group)) for group in groups]


def judged(groups, syndromes, owners, held):
    """(held-out syndromes found, false clusters, clusters) of groups that reach over three owners."""
    found, false, told = set(), 0, 0
    for group in groups:
        if len(set(owners[group])) < 3:
            continue
        told += 1
        names, counts = np.unique(syndromes[group], return_counts=True)
        major = names[counts.argmax()]
        of_major = len(set(owners[group][syndromes[group] == major]))
        if counts.max() < len(group) / 2 or of_major < 2:
            false += 1
        elif of_major >= 3 and major in held:
            found.add(major)
    return np.array([len(found), false, told])


def draw(rng, syndromes, patients, owners, roles, held_out, per_syndrome):
    """Places of the undiagnosed photos of one draw, and those held-out syndromes that three owners have."""
    rare = rng.permutation(np.unique(syndromes[roles == "rotating"]))
    held, places = rare[:held_out], []
    for syndrome in held:
        mine = rng.permutation(np.unique(patients[syndromes == syndrome]))[:per_syndrome]
        places += list(np.flatnonzero((syndromes == syndrome) & np.isin(patients, mine)))
    for syndrome in (*rare[held_out:], *np.unique(syndromes[roles == "test"])):
        places.append(rng.choice(np.flatnonzero((syndromes == syndrome) & (roles != "train"))))
    places = np.array(places)
    reach = {s for s in held if len(set(owners[places][syndromes[places] == s])) >= 3}
    return places, reach


def by_owner(owners, make):
    """Rows of one class per owner; `make` gets an owner's places."""
    return {str(owner): make(np.flatnonzero(owners == owner)) for owner in np.unique(owners)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument(
        "--embeddings", type=Path, help="file to keep the embeddings in, or to take them from"
    )
    parser.add_argument("--patients", type=int, default=8, help="per held-out syndrome")
    parser.add_argument("--held-out", type=int, default=10)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cohort = arguments.cohort
        if cohort is None and not (arguments.embeddings and arguments.embeddings.exists()):
            cohort = Path(folder) / "cohort"
            command = [sys.executable, "-m", "fedgestalt.cli.main", "synth", "--tier", "demo", "--seed", "11"]
            subprocess.run([*command, "--out", str(cohort)], check=True)
        embeddings, syndromes, patients, owners, roles = encoded(cohort, arguments.embeddings)
    rows = rotate(embeddings, Frame.derive(KEY, embeddings.shape[1]))
    rng = np.random.default_rng(arguments.seed)
    handles = rng.integers(0, 256, (len(rows), 16), dtype=np.uint8)
    _, number = np.unique(syndromes, return_inverse=True)
    tokens = np.zeros((len(rows), 16), dtype=np.uint8)
    tokens[:, :8] = number.astype("<u8").view(np.uint8).reshape(-1, 8)
    train = np.flatnonzero(roles == "train")

    def gallery_of(places):
        places = train[places]
        return GalleryRows(rows[places], tokens[places], handles[places], np.ones(len(places), np.uint32))

    chance = Chance.measure(by_owner(owners[train], gallery_of))
    settings = {f"expected {level:g}": level for level in (0.1, 0.3, 1.0, 3.0)}
    methods = [*settings, "HDBSCAN* k=2", "HDBSCAN* k=3"]
    true = {m: [] for m in methods}
    luck = {m: [] for m in methods}
    sizes, reaching = [], []
    for _ in range(arguments.draws):
        places, held = draw(rng, syndromes, patients, owners, roles, arguments.held_out, arguments.patients)
        of_name = {handles[i].tobytes(): k for k, i in enumerate(places)}
        undiagnosed = by_owner(
            owners[places],
            lambda at, p=places: UndiagnosedRows(rows[p[at]], handles[p[at]]),
        )
        sizes.append(len(places))
        reaching.append(len(held))
        shuffled = rng.permutation(syndromes[places])
        for method in methods:
            if method in settings:
                clusters = discover(undiagnosed, chance, key=KEY, expected=settings[method])
                groups = [np.array([of_name[h] for _, h in c.members]) for c in clusters]
            else:
                groups = hdbscan(cosines(centred(rows[places], chance.centre)), neighbours=int(method[-1]))
            true[method].append(judged(groups, syndromes[places], owners[places], held))
            luck[method].append(judged(groups, shuffled, owners[places], held))
    print(
        f"{arguments.draws} draws of {np.mean(sizes):.0f} undiagnosed photos of {len(np.unique(owners))} owners: "
        f"{arguments.held_out} held-out syndromes of {arguments.patients} patients, {np.mean(reaching):.1f} of them "
        f"with three owners; gallery of {len(train)} rows"
    )
    print(f"{'method':16}{'recall':>8}{'false':>8}{'told':>8}{'false/told':>12}   permuted: recall  false")
    for method in methods:
        a, b = np.mean(true[method], axis=0), np.mean(luck[method], axis=0)
        held = max(np.mean(reaching), 1e-9)
        print(
            f"{method:16}{100 * a[0] / held:7.1f}%{a[1]:8.2f}{a[2]:8.2f}{100 * a[1] / max(a[2], 1e-9):11.0f}%"
            f"{100 * b[0] / held:16.1f}%{b[1]:8.2f}"
        )


if __name__ == "__main__":
    main()
