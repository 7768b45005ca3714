"""A workload without a network: keeps the site workload's contract with numbers from the site's seed.

It stands where the trainer stands, over the real link to the real agent, so that the protocol can be driven through
whole rounds in seconds. Updates and embeddings are functions of (seed file, member, t) alone: any restart repeats them.
"""

import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from fedgestalt.training.link import AgentLink


def rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(repr(parts).encode()).digest()))


def start(member: str) -> dict[str, np.ndarray]:
    shapes = {"extractor.conv.weight": (8, 3, 3, 3), "extractor.bn.running_mean": (8,), "head.weight": (5, 8)}
    return {name: rng("start", member, name).normal(size=s).astype(np.float32) for name, s in shapes.items()}


def update(seed: bytes, member: str, t: int) -> dict[str, np.ndarray]:
    return {name: 1e-3 * rng(seed, member, t, name).normal(size=a.shape) for name, a in start(member).items()}


def train(task: dict, link: AgentLink, seed: bytes) -> None:
    training = task["training"]
    members = [m["name"] for m in training["members"] if m.get("trainable", True)]
    for member in members:
        link.initial(member, start(member))
    done = {name: state.t for name, state in link.resume().items()}
    for member in members:
        for t in range(done[member] + 1, training["communicationRounds"] + 1):
            link.progress(member, t, t / training["communicationRounds"], "numbers")
            link.aggregate(member, t, update(seed, member, t))


def embedding(photo: dict[str, str]) -> np.ndarray:
    """A unit vector near that of the photo's syndrome, but not too near."""
    vector = rng("syndrome", photo["syndrome"]).normal(size=32) + 1.6 * rng("photo", photo["image"]).normal(
        size=32
    )
    return vector / np.linalg.norm(vector)


def encode(task: dict, link: AgentLink, seed: bytes) -> None:
    del seed
    bundle = Path(task["bundle"])
    if not bundle.exists():
        partial = bundle.with_name("bundle.partial")
        partial.mkdir(exist_ok=True)
        files = {
            f"{name}.numbers": b"".join(state.tensors[n].tobytes() for n in sorted(state.tensors))
            for name, state in link.resume().items()
        }
        for name, data in files.items():
            (partial / name).write_bytes(data)
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        (partial / "manifest.json").write_text(json.dumps({"members": [], "files": digests}))
        partial.rename(bundle)
    with (Path(task["cohort"]) / "manifest.csv").open(newline="") as file:
        photos = list(csv.DictReader(file))
    rows, vectors = [], []
    for photo in photos:
        vectors.append(embedding(photo))
        splits = [int(n) for n in photo["test_splits"].split()]
        rows.append(
            {
                "photo": photo["image"],
                "patient": photo["patient"],
                "syndrome": photo["syndrome"],
                "role": photo["role"],
                "test_splits": splits,
            }
        )
    link.rows(np.array(vectors), rows)


def main() -> None:
    command, flag, file = sys.argv[1:]
    assert flag == "--task"
    task = json.loads(Path(file).read_text())
    seed = Path(task["seedFile"]).read_bytes()
    with AgentLink(Path(task["socket"])) as link:
        {"train": train, "encode": encode}[command](task, link, seed)


if __name__ == "__main__":
    main()
