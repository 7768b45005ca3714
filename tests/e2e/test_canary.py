"""Nothing that a hospital must keep is found anywhere else: hub, other silos, logs, shared memory, processes.

A real round over photos (tier tiny, labels that do not overlap) runs with the real trainer and encoder; what they hand to
their agents and what the agents keep in their stores becomes canaries. Then every place that is not the silo's own is
searched for their bytes. What the hub may have by design is no canary: masked rows, tokens, weights, the macro table and the
vocabulary, which names every syndrome but ties none to a silo, a patient or a photo.
"""

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity, Purpose, derive
from fedgestalt.data.federation import VOCABULARY, load_federation, make_federation
from fedgestalt.local.demo import weights_digest
from fedgestalt.local.document import demo_round
from fedgestalt.local.federation import LocalFederation
from fedgestalt.secagg.keyring import EnrolmentSecrets, TrySecrets
from fedgestalt.training.photos import load_faces
from fedgestalt_operator.kube.validate import validate

from .canaries import Canaries, Search, contents
from .watch import Watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHARED_BY_THE_SILOS = "the silos"
WORKLOAD = Path(__file__).with_name("capturing_workload.py")
CURIE = re.compile(rb"SYN:[A-Z][0-9]+")


@dataclass
class Played:
    """A round that has ended, and what was seen of it."""

    workdir: Path
    vocabulary: bytes
    watch: Watch
    owners: dict[str, Canaries]

    @property
    def silos(self) -> list[str]:
        return [name for name in self.owners if name != SHARED_BY_THE_SILOS]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("canary")
    cohorts, workdir, captured = folder / "cohorts", folder / "federation", folder / "captured"
    make_federation(cohorts, tier="tiny", silos=4, split="non-overlapping", seed=7)
    vocabulary = (cohorts / VOCABULARY).read_bytes()
    silos = sorted(load_federation(cohorts))
    document = demo_round(
        name="canary",
        silos=silos,
        vocabulary_digest=f"sha256:{hashlib.sha256(vocabulary).hexdigest()}",
        weights_digest=weights_digest,
        non_overlapping=True,
        tiny=True,
    )
    federation = LocalFederation(
        validate(document, source="canary"),
        workdir=workdir,
        cohorts={name: cohorts / name for name in silos},
        vocabulary=vocabulary,
        workload=[sys.executable, str(WORKLOAD), str(captured)],
    )
    with Watch(workdir) as watch:
        outcome = federation.run()
    assert outcome.phase == "Succeeded", outcome.status
    return Played(workdir, vocabulary, watch, collect(folder, silos, watch))


def collect(folder: Path, silos: list[str], watch: Watch) -> dict[str, Canaries]:
    """The canaries of every silo, and those that only the silos share."""
    owners = {name: Canaries() for name in (*silos, SHARED_BY_THE_SILOS)}
    cohorts = load_federation(folder / "cohorts")
    openings: list[bytes] = []
    for name in silos:
        own, site = owners[name], folder / "federation" / "silos" / name
        own.add_key("identity", Identity.load(site / "identity.pem").private_key.private_bytes_raw())
        own.add_key("site secret", (site / "seed").read_bytes())
        for key, value in watch.secrets[name].items():
            if re.fullmatch(r"secagg/[^/]+/\d+/root", key):
                enrolment = EnrolmentSecrets(value)
                openings.append(enrolment.opening)
                own.add_key("root of the enrolment", value)
                own.add_key("r_i", enrolment.opening[:32])
                own.add_key("r_i", enrolment.opening[32:])
                own.add_key("delegated key", enrolment.signing.private_key.private_bytes_raw())
                own.add_key("delegated key", enrolment.sealing._private.private_bytes_raw())
            elif key.startswith("secagg/") and key.endswith("/root"):
                attempt = TrySecrets(value)
                own.add_key("root of a try", value)
                own.add_key("s_i", attempt.agreement._private.private_bytes_raw())
                own.add_key("b_i", attempt.self_secret)
        for photo in cohorts[name].photos:
            data = (cohorts[name].root / photo.image).read_bytes()
            own.add("photo", *(data[at : at + 32] for at in (len(data) // 3, len(data) // 2)))
            own.add("patient", photo.patient.encode())
        for image in load_faces(cohorts[name].root, site / "work" / "faces").images:
            own.add("aligned face", image[56, 40:56].tobytes())
        for what, tensor in captured(folder / "captured" / name):
            own.add_numbers(what, tensor, places=4)
    # Every silo can make these from all openings; that the stores hold the same K_epoch proves the openings right.
    shared = owners[SHARED_BY_THE_SILOS]
    (epoch,) = {
        item for name in silos for item in watch.secrets[name].items() if item[0].startswith("epoch/")
    }
    h = bytes.fromhex(epoch[0].removeprefix("epoch/"))
    run = derive(b"".join(r[:32] for r in openings), salt=h, purpose=Purpose.RUN)
    assert derive(b"".join(r[32:] for r in openings), salt=h, purpose=Purpose.EPOCH) == epoch[1]
    shared.add_key("K_run", run)
    shared.add_key("K_epoch", epoch[1])
    for purpose in (Purpose.FRAME, Purpose.TOKEN):
        shared.add_key(f"{purpose} key", derive(epoch[1], salt=h, purpose=purpose))
    return owners


def captured(folder: Path) -> Iterator[tuple[str, Any]]:
    """What a silo's trainer and encoder handed to the agent, and the local models behind the updates."""
    yield from (("embedding", row) for row in np.load(folder / "rows.npz")["embeddings"])
    for path in folder.glob("delta-*.npz"):
        _, member, t = path.stem.split("-")
        before, delta = np.load(folder / f"model-{member}-{int(t) - 1}.npz"), np.load(path)
        for name in delta.files:
            yield "update", delta[name]
            yield "local model", (before[name] + delta[name]).astype(np.float32)


def test_every_kind_of_secret_became_a_canary(played: Played) -> None:
    kinds = {
        *(
            "identity",
            "site secret",
            "root of the enrolment",
            "r_i",
            "delegated key",
            "root of a try",
            "s_i",
            "b_i",
        ),
        *("photo", "patient", "aligned face", "embedding", "update", "local model"),
    }
    for name in played.silos:
        assert played.owners[name].kinds == kinds
    assert played.owners[SHARED_BY_THE_SILOS].kinds == {"K_run", "K_epoch", "frame key", "token key"}


def test_the_search_finds_every_canary_that_is_planted(played: Played, tmp_path: Path) -> None:
    search, noise = Search(played.owners), np.random.default_rng(0)
    assert not search.found(noise.bytes(1_000_000))
    for owner, canaries in played.owners.items():
        # Text and noise of random lengths between them: canaries stand at even and odd places.
        planted = b"".join(
            b"log: " + noise.bytes(noise.integers(1, 9)) + value for value in canaries.patterns
        )
        (tmp_path / owner / "deep").mkdir(parents=True)
        (tmp_path / owner / "deep" / "file").write_bytes(planted)
        ((_, data),) = contents(tmp_path / owner)
        expected = {(value, f"{what} of {owner}") for value, what in canaries.patterns.items()}
        assert search.hits(data) >= expected
        assert len(expected) >= 16


def test_the_search_looks_into_databases(played: Played, tmp_path: Path) -> None:
    secret, what = next(iter(played.owners["north"].patterns.items()))
    with sqlite3.connect(tmp_path / "board.sqlite") as db:
        db.execute("CREATE TABLE messages (seq INTEGER, body BLOB)")
        db.execute("INSERT INTO messages VALUES (1, ?)", (bytes(5000) + secret,))
    found = [
        Search(played.owners).found(data) for path, data in contents(tmp_path) if path.endswith("(cells)")
    ]
    assert found == [{f"{what} of north"}]


def test_the_watch_sees_environments_and_shared_memory(played: Played, tmp_path: Path) -> None:
    secret = sorted(played.owners["north"].patterns)[0].hex()
    watch = Watch(tmp_path)
    shared = Path(f"/dev/shm/canary-{os.getpid()}")
    shared.write_text(secret)
    try:
        command = ["/bin/sh", "-c", "echo started; read line"]
        with subprocess.Popen(
            command, env={"SECRET": secret}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()  # before it runs, its environment cannot be read
            watch.sample()
            process.kill()
    finally:
        shared.unlink()
    assert any(secret.encode() in item for item in watch.processes)
    assert watch.passing[str(shared)] == secret.encode()


def test_a_silo_keeps_its_own_where_the_search_would_see_it(played: Played) -> None:
    search = Search(played.owners)
    for name in played.silos:
        own = {hit for _, data in contents(played.workdir / "silos" / name) for hit in search.found(data)}
        expected = {
            f"{what} of {name}" for what in ("identity", "site secret", "aligned face", "local model")
        }
        assert own >= {*expected, f"K_epoch of {SHARED_BY_THE_SILOS}"}


def test_the_hub_holds_nothing_of_any_silo(played: Played) -> None:
    search = Search(played.owners)
    places = list(contents(played.workdir / "hub"))
    assert any(path.endswith("board.sqlite (cells)") for path, _ in places)
    assert any("/blobs/" in path for path in played.watch.passing)
    for path, data in (*places, *played.watch.passing.items()):
        assert not search.found(data), f"in {path}"


def test_the_hub_never_sees_whose_a_syndrome_is(played: Played) -> None:
    everything = set(CURIE.findall(played.vocabulary))
    for path, data in (*contents(played.workdir / "hub"), *played.watch.passing.items()):
        assert set(CURIE.findall(data)) in (set(), everything), f"{path} names some syndromes and not others"


def test_no_silo_holds_anything_of_another(played: Played) -> None:
    for name in played.silos:
        search = Search({other: played.owners[other] for other in played.silos if other != name})
        for path, data in contents(played.workdir / "silos" / name):
            assert not search.found(data), f"in {path}"


def test_a_silo_forgets_the_secrets_of_the_round_at_its_end(played: Played) -> None:
    search = Search(played.owners)
    gone = ("root of the enrolment", "root of a try", "r_i", "s_i", "b_i", "delegated key", "K_run")
    for path, data in contents(played.workdir / "silos"):
        left = {hit for hit in search.found(data) if hit.rpartition(" of ")[0] in gone}
        assert not left, f"in {path}"


def test_no_log_holds_a_secret_not_even_the_silos_own(played: Played) -> None:
    search = Search(played.owners)
    logs = [
        (path, data)
        for path, data in contents(played.workdir)
        if path.endswith((".log", "/log.txt")) or "/logs/" in path
    ]
    assert len(logs) >= 1 + 3 * len(played.silos)
    for path, data in logs:
        assert not search.found(data), f"in {path}"
        assert not CURIE.search(data), f"{path} names a syndrome"


def test_rays_folders_and_shared_memory_hold_nothing(played: Played) -> None:
    search = Search(played.owners)
    rays = [p for p in played.workdir.glob("silos/*/work/*/*/ray") if p.is_dir()]
    for path, data in contents(Path("/tmp/ray"), Path("/dev/shm"), *rays):
        assert not search.found(data), f"in {path}"


def test_process_arguments_and_environments_hold_nothing(played: Played) -> None:
    search = Search(played.owners)
    seen = b"\n".join(played.watch.processes)
    for part in (
        b"silo\0agent",
        b"exchange\0serve",
        b"job\0aggregate",
        b"job\0kernel",
        b"train\0--task",
        b"FEDGESTALT_",
    ):
        assert part in seen, "the watch missed a process"
    assert not search.found(seen)
