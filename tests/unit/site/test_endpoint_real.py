"""One endpoint with nothing played but the cluster: a real release, the agent's check of it, the real service."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tests.unit.lineage.federation import ReleasingHub
from tests.unit.serving.conftest import CLASSES, FRAME, TOKEN, put_round, released, write
from tests.unit.serving.process import served

from fedgestalt.files import private_directory, write_atomic
from fedgestalt.models.bundle import MemberSpec, load_bundle, save_bundle
from fedgestalt.models.registry import build_extractor
from fedgestalt.silo.releases import ReleaseChecks
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.deployments import SITE, InferenceTemplate
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.plan.endpoint_types import Answer
from fedgestalt_operator.site.checked import CheckedReleases
from fedgestalt_operator.site.endpoints import EndpointReconciler
from fedgestalt_operator.site.service import AskService

from .pod import rolled_out

SPACE = "clinic"


def put_release(releases: Path) -> tuple[ReleasingHub, str]:
    """A release as an agent keeps it, its networks untrained: its round, and its digest without a prefix."""
    folder = private_directory(releases / "new")
    members = [(MemberSpec(name, "resnet_s16"), build_extractor("resnet_s16")) for name in ("m0", "frozen")]
    round_ = released(save_bundle(folder / "bundle", members), 4)
    put_round(folder, round_)
    width = load_bundle(folder / "bundle").ensemble.embedding_dim
    names = [item.name for item in CLASSES]
    np.savez(
        folder / "gallery.npz",
        embeddings=np.eye(len(names), width),
        syndromes=np.array(names),
        photos=np.array(names),
        patients=np.array(names),
        handles=np.arange(16 * len(names), dtype=np.uint8).reshape(-1, 16),
    )
    write(folder / "keys.json", {"frame": FRAME.hex(), "token": TOKEN.hex(), "width": None})
    write(folder / "vocabulary.json", {"trained": names, "rare": []})
    digest: str = json.loads((folder / "release.json").read_bytes())["digest"]
    folder.rename(releases / digest)
    return round_, digest


def test_a_real_release_is_verified_by_the_agent_loaded_by_the_service_and_ready(tmp_path: Path) -> None:
    releases = private_directory(tmp_path / "releases")
    round_, digest = put_release(releases)
    found = ReleaseChecks(releases, round_.key.public).look()
    write_atomic(tmp_path / "shared" / "releases.json", json.dumps(found).encode())
    document = validate_file(crd_folder() / "examples" / "valid" / "endpoint-minimal.yaml")[0]
    document["metadata"] = {"name": "clinic", "namespace": SPACE}
    document["spec"]["release"] = f"sha256:{digest}"
    cluster, urls = MemoryCluster(), list[str]()
    cluster.create(document)

    def ask(name: str, namespace: str) -> Answer:
        return AskService(urls[-1])(name, namespace)

    operator = EndpointReconciler(
        cluster,
        CheckedReleases(tmp_path / "shared"),
        ask,
        namespace=SPACE,
        template=InferenceTemplate(image="registry/inference:1", claim="agent"),
    )
    operator.reconcile()
    deployment = cluster.get("Deployment", SPACE, "fg-infer-clinic")
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[:3] == ["fedgestalt", "serve", "--release"]
    mounted = Path(command[3]).relative_to(SITE)
    with served(tmp_path / mounted, tmp_path) as client:
        urls.append(str(client.base_url))
        cluster.patch_status("Deployment", SPACE, "fg-infer-clinic", rolled_out(deployment))
        operator.reconcile()
    status = cluster.get("InferenceEndpoint", SPACE, "clinic")["status"]
    reasons = {c["type"]: c["reason"] for c in status["conditions"]}
    assert reasons == {"Verified": "SignaturesValid", "Loaded": "ModelLoaded", "Ready": "Serving"}
    assert status["release"] == f"sha256:{digest}"
