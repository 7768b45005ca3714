"""How well discovery finds held-out syndromes, and how often it tells of clusters that are none.

    python tests/bench/bench_discovery.py [COHORT | --demo DIR] [--patients 8] [--held-out 10] [--draws 100]

COHORT is a folder of `fedgestalt synth` (without one, the script makes the demo tier, seed 11, in a temporary
folder). Every photo is encoded once with the start network that the package ships, which no syndrome of the cohort
has trained, and masked by a frame. With --demo, a folder that `fedgestalt demo` has run in, the network that the
federation trained there on the frequent syndromes is a second member, as in a release.

Draw by draw: of the rare syndromes some are held out, with so many patients each; every other rare syndrome and
every frequent one gives one patient as a distractor; all of them are undiagnosed. The gallery, on which chance is
measured, are the frequent syndromes' training photos.

Recall is over the held-out syndromes that three owners have. One is found if it is the majority of a cluster, with
cases of three owners. A cluster is true if its majority syndrome makes up half of it and comes from three owners,
false if it makes up less than half or comes from one owner; the rest are a syndrome of two owners with a stranger at
the third. The columns "permuted" repeat the counts with the syndromes permuted over the undiagnosed photos: what luck
gives. HDBSCAN* (Campello, Moulavi and Sander 2013; smallest cluster 3; by excess of mass, or the leaves of the
condensed tree) on the same cosines stands beside.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from fedgestalt.evaluation.discovery import Case, Judgement
from fedgestalt.flake import Frame, GalleryRows, UndiagnosedRows, rotate
from fedgestalt.flake.chance import Chance, centred, cosines
from fedgestalt.flake.discovery import discover

FIELDS = ("embeddings", "syndromes", "patients", "owners", "roles")
EXTRACTOR, START = "resnet_s16", "resnet_s16-faces"
KEY = bytes(range(32))
VARIANTS = {
    "HDBSCAN* k=1": {"neighbours": 1},
    "HDBSCAN* k=2": {"neighbours": 2},
    "HDBSCAN* leaf k=1": {"neighbours": 1, "leaves": True},
    "HDBSCAN* leaf k=2": {"neighbours": 2, "leaves": True},
}


def encoded(cohort, demo, cache):
    """Embeddings, syndromes, patients, owners and roles of all photos; kept in the file `cache` if given."""
    if cache is not None and cache.exists():
        with np.load(cache, allow_pickle=False) as file:
            return [file[n] for n in FIELDS]
    import torch

    from fedgestalt.models.ensemble import Ensemble, Member
    from fedgestalt.models.registry import build_extractor
    from fedgestalt.models.weights import load_initial_weights
    from fedgestalt.training.photos import load_faces

    torch.set_num_threads(1)
    start = build_extractor(EXTRACTOR)
    load_initial_weights(start, START)
    members = [Member("start", start.eval())]
    if demo is not None:
        (model, *_) = sorted(demo.glob("federation/silos/*/work/*/models/*.npz"))
        prefix = "tensors:extractor."
        with np.load(model, allow_pickle=False) as file:
            tensors = {
                n[len(prefix) :]: torch.from_numpy(file[n]) for n in file.files if n.startswith(prefix)
            }
        trained = build_extractor(EXTRACTOR)
        missing, unknown = trained.load_state_dict(tensors, strict=False)
        assert not unknown, unknown
        assert all(name.endswith("num_batches_tracked") for name in missing), missing
        members = [Member("trained", trained.eval()), *members]
    ensemble = Ensemble(members)
    embeddings, said = [], []
    for silo in sorted(p.parent for p in cohort.glob("*/manifest.csv")):
        work = silo if demo is None else demo / "federation" / "silos" / silo.name / "work"
        faces = load_faces(silo, work / ("cache" if demo is None else "faces"))
        embeddings.append(ensemble.encode(faces.images))
        said += [(p.syndrome or "", p.patient, silo.name, str(p.role)) for p in faces.photos]
    found = [np.concatenate(embeddings), *np.array(said).T]
    if cache is not None:
        np.savez(cache, **dict(zip(FIELDS, found, strict=True)))
    return found


def hdbscan(alike, smallest=3, neighbours=2, leaves=False):
    """HDBSCAN* on distances 1 - cosine: groups of places, by excess of mass or the leaves of the condensed tree."""
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

    def condense(node, birth, whole=False):
        """Return (excess of mass of the best choice, its groups) of a cluster born at 1 / distance = `birth`."""
        cluster, mass = node, 0.0
        while cluster >= n:
            left, right = children[cluster]
            level = 1.0 / max(height[cluster], 1e-12)
            if min(len(nodes[left]), len(nodes[right])) >= smallest:
                mass += len(nodes[cluster]) * (level - birth)
                below = [condense(left, level), condense(right, level)]
                split = sum(value for value, _ in below)
                if whole or leaves or split > mass:  # everything is never one cluster
                    return split, [group for _, groups in below for group in groups]
                return mass, [nodes[node]]
            large, small = (left, right) if len(nodes[left]) >= len(nodes[right]) else (right, left)
            if len(nodes[large]) < smallest:
                mass += len(nodes[cluster]) * (level - birth)
                break
            mass += len(nodes[small]) * (level - birth)
            cluster = large
        return mass, [] if whole else [nodes[node]]

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 4 * n))
    return [np.array(sorted(group)) for group in condense(len(nodes) - 1, 0.0, whole=True)[1]]


def judged(groups, syndromes, owners, held):
    """(held-out syndromes found, clusters told, true ones, false ones) of groups that reach over three owners."""
    clusters = [[Case(str(owners[i]), str(syndromes[i])) for i in group] for group in groups]
    found = Judgement.of(clusters, held, ())
    return np.array([found.found, found.told, found.true, found.false])


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
    parser.add_argument(
        "--demo", type=Path, help="folder of `fedgestalt demo`: its cohorts and trained network"
    )
    parser.add_argument("--patients", type=int, default=8, help="per held-out syndrome")
    parser.add_argument("--held-out", type=int, default=10)
    parser.add_argument(
        "--gallery", type=int, help="training photos that chance is measured on; all by default"
    )
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cohort = arguments.demo / "cohorts" if arguments.demo else arguments.cohort
        if cohort is None and not (arguments.embeddings and arguments.embeddings.exists()):
            cohort = Path(folder) / "cohort"
            command = [sys.executable, "-m", "fedgestalt.cli.main", "synth", "--tier", "demo", "--seed", "11"]
            subprocess.run([*command, "--out", str(cohort)], check=True)
        embeddings, syndromes, patients, owners, roles = encoded(cohort, arguments.demo, arguments.embeddings)
    rows = rotate(embeddings, Frame.derive(KEY, embeddings.shape[1]))
    rng = np.random.default_rng(arguments.seed)
    handles = rng.integers(0, 256, (len(rows), 16), dtype=np.uint8)
    _, number = np.unique(syndromes, return_inverse=True)
    tokens = np.zeros((len(rows), 16), dtype=np.uint8)
    tokens[:, :8] = number.astype("<u8").view(np.uint8).reshape(-1, 8)
    train = np.flatnonzero(roles == "train")
    if arguments.gallery is not None:  # a generator of its own, so that the draws stay the same
        train = np.random.default_rng([arguments.seed, 1]).permutation(train)[: arguments.gallery]

    def gallery_of(places):
        places = train[places]
        return GalleryRows(rows[places], tokens[places], handles[places], np.ones(len(places), np.uint32))

    chance = Chance.measure(by_owner(owners[train], gallery_of))
    settings = {f"expected {level:g}": level for level in (0.1, 0.3, 1.0, 3.0)}
    methods = [*settings, *VARIANTS]
    right = {m: [] for m in methods}
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
                groups = hdbscan(cosines(centred(rows[places], chance.centre)), **VARIANTS[method])
            right[method].append(judged(groups, syndromes[places], owners[places], held))
            luck[method].append(judged(groups, shuffled, owners[places], held))
    print(
        f"{arguments.draws} draws of {np.mean(sizes):.0f} undiagnosed photos of {len(np.unique(owners))} owners: "
        f"{arguments.held_out} held-out syndromes of {arguments.patients} patients, {np.mean(reaching):.1f} of them "
        f"with three owners; gallery of {len(train)} rows"
    )
    print(f"{'method':18}{'recall':>8}{'told':>8}{'true':>8}{'false':>8}   permuted:{'recall':>8}{'true':>8}")
    for method in methods:
        a, b = np.mean(right[method], axis=0), np.mean(luck[method], axis=0)
        percent = 100 / max(np.mean(reaching), 1e-9)
        print(
            f"{method:18}{percent * a[0]:7.1f}%{a[1]:8.2f}{a[2]:8.2f}{a[3]:8.2f}{'':12}"
            f"{percent * b[0]:8.1f}%{b[2]:8.2f}"
        )


if __name__ == "__main__":
    main()
