"""Two silos with rendered faces, shipped weights, one epoch; a release as it lies at the first of them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import rfc8785
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from fedgestalt.data.synthdysm.photos import PhotoJob, draw_photo
from fedgestalt.data.tiers import syndromes
from fedgestalt.faces import align_photos
from fedgestalt.flake import Frame, label_token, photo_handle, rotate
from fedgestalt.flake.index import GalleryIndex
from fedgestalt.lineage import collect
from fedgestalt.models.bundle import MemberSpec, load_bundle, save_bundle
from fedgestalt.models.registry import build_extractor
from fedgestalt.models.weights import load_initial_weights
from fedgestalt.serving.analyses import Analyses
from fedgestalt.serving.app import create_app
from fedgestalt.serving.federation import FederatedAnswer, Federation
from fedgestalt.serving.release import Release, load_release

from ..lineage import federation
from ..lineage.federation import ReleasingHub

FRAME, TOKEN, HANDLE = (bytes([byte]) * 32 for byte in (1, 2, 3))
HERE, THERE = range(4), range(2, 6)  # the syndromes of the two silos; two of them in common
CLASSES = syndromes("tiny")
RARE_NAME = "Unwritten syndrome"
JPEG = {"content-type": "image/jpeg"}


def rendered(syndrome: int, patient: int, number: int = 0, size: int = 256) -> NDArray[np.uint8]:
    """A synthetic photo, uint8 [size, size, 3]."""
    profile = tuple(CLASSES[syndrome].profile.terms.items())
    return draw_photo(PhotoJob(Path(), profile, 1000 * syndrome + patient, number), size)[0].pixels


def jpeg(pixels: NDArray[np.uint8], **how: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=92, **how)
    return out.getvalue()


@dataclass(frozen=True)
class Cases:
    """Diagnosed cases of one silo."""

    names: list[str]
    embeddings: NDArray[np.float64]
    syndromes: list[str]

    @property
    def tokens(self) -> NDArray[np.uint8]:
        listed = [label_token(TOKEN, syndrome) for syndrome in self.syndromes]
        return np.array([np.frombuffer(token, dtype=np.uint8) for token in listed])

    @property
    def handles(self) -> NDArray[np.uint8]:
        listed = [photo_handle(HANDLE, name) for name in self.names]
        return np.array([np.frombuffer(handle, dtype=np.uint8) for handle in listed])


@dataclass
class Site:
    """A release folder and what is behind it."""

    folder: Path
    round: ReleasingHub
    own: Cases
    others: Cases

    @property
    def epoch(self) -> str:
        return str(json.loads(self.round.manifest)["epoch"])

    @cached_property
    def release(self) -> Release:
        return load_release(self.folder)

    def hub(self) -> Hub:
        return Hub(self.others, self.release.frame.width)


class Hub:
    """The hub's index in memory over the other silo's rotated rows."""

    def __init__(self, cases: Cases, width: int) -> None:
        frame = Frame.derive(FRAME, cases.embeddings.shape[1], width)
        self._index = GalleryIndex(width, frame.fingerprint)
        self._index.put("other", rotate(cases.embeddings, frame), cases.tokens, cases.handles)
        self.asked: list[NDArray[np.float64]] = []

    def ask(self, row: NDArray[np.float64]) -> FederatedAnswer:
        self.asked.append(row)
        return FederatedAnswer(self._index.query(row, exclude="own"), budget_left=2000 - len(self.asked))


def _encode(folder: Path, classes: range) -> Cases:
    photos = [(s, p) for s in classes for p in range(2)]
    faces = align_photos([rendered(s, p) for s, p in photos])
    crops = np.stack([face.pixels for face in faces if face is not None])
    assert len(crops) == len(photos)
    names = [f"{CLASSES[s].name}-{p}.jpg" for s, p in photos]
    embeddings = load_bundle(folder).ensemble.encode(crops)
    return Cases(names, embeddings, [CLASSES[s].name for s, _ in photos])


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def released(bundle: str, silos: int, **kind: object) -> ReleasingHub:
    """A whole round with real keys that releases this bundle."""

    def named(*parts: str) -> bytes:
        return bytes.fromhex(bundle.removeprefix("sha256:")) if parts == ("bundle",) else before(*parts)

    before = federation.named
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(federation, "named", named)
        return ReleasingHub(silos, **kind).release()


def put_round(folder: Path, round_: ReleasingHub) -> None:
    """Write what a round leaves of itself into a release's folder."""
    (folder / "manifest.json").write_bytes(round_.manifest)
    (folder / "computation.json").write_bytes(round_.blob0)
    (folder / "proof.cbor").write_bytes(collect(round_.messages))
    about = {
        "digest": hashlib.sha256(round_.manifest).hexdigest(),
        "epoch": json.loads(round_.manifest)["epoch"],
        "name": "demo",
        "silo": min(round_.agents),
        "hubKey": round_.key.public.hex(),
    }
    write(folder / "release.json", about)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("releases") / "release"
    folder.mkdir(mode=0o700)
    extractor = build_extractor("resnet_s16")
    load_initial_weights(extractor, "resnet_s16-faces")
    bundle = save_bundle(folder / "bundle", [(MemberSpec("r16", "resnet_s16"), extractor)])
    round_ = released(bundle, 4)
    made = Site(
        folder,
        round_,
        own=_encode(folder / "bundle", HERE),
        others=_encode(folder / "bundle", THERE),
    )
    np.savez(
        folder / "gallery.npz",
        embeddings=made.own.embeddings,
        syndromes=np.array(made.own.syndromes),
        photos=np.array(made.own.names),
        patients=np.array([name.removesuffix(".jpg") for name in made.own.names]),
        handles=made.own.handles,
    )
    width = made.own.embeddings.shape[1] + 16
    documents = {
        "keys.json": {"frame": FRAME.hex(), "token": TOKEN.hex(), "width": width},
        "vocabulary.json": {
            "trained": [item.name for item in CLASSES if not item.rare],
            "rare": [item.name for item in CLASSES if item.rare],
            "names": {CLASSES[5].name: RARE_NAME},
        },
    }
    for name, document in documents.items():
        write(folder / name, document)
    put_round(folder, round_)
    return made


def write(path: Path, document: object) -> None:
    """Replace a file of a release, mode 0600."""
    path.write_bytes(rfc8785.dumps(document))  # type: ignore[arg-type]
    path.chmod(0o600)


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(site: Site) -> Iterator[Serve]:
    """Make a client of a service that is ready."""
    clients: list[TestClient] = []

    def make(
        federation: Federation | None = None, timeout: float = 60.0, hosts: Collection[str] = ()
    ) -> TestClient:
        ended: list[str | None] = []
        app = create_app(
            lambda: Analyses(site.release, federation, timeout), hosts=hosts, loaded=ended.append
        )
        client = TestClient(app)
        client.__enter__()
        clients.append(client)
        while not ended:
            client.get("/healthz")
        assert ended == [None]
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)
