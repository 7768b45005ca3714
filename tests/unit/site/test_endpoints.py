"""The site's InferenceEndpoints in a cluster in memory: a test plays the Deployment's controller, an HTTP server the pod."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fedgestalt.files import write_atomic
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.deployments import InferenceTemplate
from fedgestalt_operator.kube.errors import Forbidden
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.port import Document
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.main import main
from fedgestalt_operator.plan.endpoint_types import Answer
from fedgestalt_operator.site.checked import CheckedReleases
from fedgestalt_operator.site.endpoints import NO_TEMPLATE, EndpointReconciler
from fedgestalt_operator.site.service import AskService

from .pod import Pod, rolled_out, running_pod
from .waiting import until

SPACE = "clinic"
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
TEMPLATE = InferenceTemplate(image="registry/inference:1", claim="agent")


class Counting(MemoryCluster):
    """Counts writes and can refuse Deployments."""

    writes = 0
    refuses = False

    def apply(self, document: Mapping[str, Any]) -> Document:
        if self.refuses and document["kind"] == "Deployment":
            raise Forbidden("patch Deployment in namespace clinic: cannot patch")
        self.writes += 1
        return super().apply(document)

    def patch_status(self, *args: Any, **kwargs: Any) -> Document:
        self.writes += 1
        return super().patch_status(*args, **kwargs)


class Clinic:
    """A namespace, an agent's word, a pod, and the operator that is tested."""

    def __init__(self, folder: Path, pod: Pod, template: InferenceTemplate | None = TEMPLATE) -> None:
        self.folder, self.pod, self.cluster, self.time = folder, pod, Counting(), 1_800_000_000.0
        self.template = template
        self.told: list[str] = []
        self.restart()

    def restart(self) -> None:
        self.operator = EndpointReconciler(
            self.cluster,
            CheckedReleases(self.folder),
            AskService(self.pod.url, timeout=0.5, tries=2, pause=0.01),
            namespace=SPACE,
            template=self.template,
            now=lambda: self.time,
            on_status=lambda document, old, new: self.told.append(document["metadata"]["name"]),
        )

    def create(self, wanted: str = A, name: str = "clinic") -> None:
        document = validate_file(crd_folder() / "examples" / "valid" / "endpoint-minimal.yaml")[0]
        document["metadata"] = {"name": name, "namespace": SPACE}
        document["spec"]["release"] = wanted
        self.cluster.create(document)

    def want(self, wanted: str) -> None:
        document = self.cluster.get("InferenceEndpoint", SPACE, "clinic")
        document["spec"]["release"] = wanted
        self.cluster.apply(document)

    def say(self, **reasons: str) -> None:
        """The agent has verified releases, by the digit of which their digests are made."""
        found = {f"sha256:{d * 64}": {"reason": reason, "message": ""} for d, reason in reasons.items()}
        write_atomic(self.folder / "releases.json", json.dumps({"releases": found}).encode())

    def deployment(self) -> Document:
        return self.cluster.get("Deployment", SPACE, "fg-infer-clinic")

    def roll(self, **pods: int) -> None:
        deployment = self.deployment()
        self.cluster.patch_status("Deployment", SPACE, "fg-infer-clinic", rolled_out(deployment, **pods))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("InferenceEndpoint", SPACE, "clinic").get("status", {})
        return found

    def reasons(self) -> dict[str, str]:
        return {c["type"]: c["reason"] for c in self.status().get("conditions", ())}

    def message(self) -> str:
        return next(str(c["message"]) for c in self.status()["conditions"] if c["type"] == "Ready")

    def serve(self, wanted: str = A) -> None:
        """From nothing to Ready."""
        self.say(a="SignaturesValid", b="SignaturesValid")
        self.create(wanted)
        self.operator.reconcile()
        self.roll()
        self.pod.loads(wanted)
        self.operator.reconcile()
        assert self.reasons()["Ready"] == "Serving"


@pytest.fixture
def pod() -> Iterator[Pod]:
    with running_pod() as pod:
        yield pod


@pytest.fixture
def clinic(tmp_path: Path, pod: Pod) -> Clinic:
    return Clinic(tmp_path, pod)


def test_an_endpoint_comes_from_nothing_to_serving(clinic: Clinic) -> None:
    clinic.create()
    assert clinic.operator.reconcile()  # what is missing comes by news
    assert clinic.reasons()["Verified"] == "ReleaseMissing"
    assert clinic.cluster.list("Deployment", SPACE)[0] == []
    clinic.say(a="SignaturesValid")
    assert not clinic.operator.reconcile()
    assert clinic.reasons() == {"Verified": "SignaturesValid", "Loaded": "Loading", "Ready": "NotLoaded"}
    assert clinic.pod.asked == 0
    clinic.pod.loads(A)
    clinic.roll()
    assert clinic.operator.reconcile()
    assert clinic.reasons() == {"Verified": "SignaturesValid", "Loaded": "ModelLoaded", "Ready": "Serving"}
    assert clinic.cluster.get("Service", SPACE, "fg-infer-clinic")["spec"]["type"] == "ClusterIP"


def test_nothing_is_written_while_nothing_changes_and_after_a_restart(clinic: Clinic) -> None:
    clinic.serve()
    before, told = clinic.cluster.writes, len(clinic.told)
    for _ in range(5):
        clinic.time += 60
        clinic.operator.reconcile()
    clinic.restart()
    clinic.operator.reconcile()
    assert (clinic.cluster.writes, len(clinic.told)) == (before, told)


def test_the_status_is_a_projection_of_what_is_seen(clinic: Clinic) -> None:
    clinic.serve()
    clinic.want(B)
    clinic.operator.reconcile()
    clinic.pod.loads(B)
    clinic.roll()
    clinic.operator.reconcile()
    before = clinic.status()
    assert (before["release"], before["previous"]) == (B, [A])
    clinic.cluster.patch_status("InferenceEndpoint", SPACE, "clinic", {})
    clinic.restart()
    clinic.operator.reconcile()
    assert clinic.status() == before


def test_a_change_of_the_digest_goes_through_the_deployment_alone(clinic: Clinic) -> None:
    clinic.serve()
    clinic.want(B)
    assert not clinic.operator.reconcile()
    command = clinic.deployment()["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[3] == f"/site/releases/{'b' * 64}"
    clinic.roll(pods=2)  # the new pod is not ready: the old one answers
    clinic.operator.reconcile()
    assert (clinic.reasons()["Ready"], clinic.status()["release"]) == ("WrongRelease", A)
    clinic.pod.loads(B)
    clinic.roll()
    assert clinic.operator.reconcile()
    assert (clinic.reasons()["Ready"], clinic.status()["release"]) == ("Serving", B)
    clinic.want(A)
    clinic.operator.reconcile()
    clinic.pod.loads(A)
    clinic.roll()
    clinic.operator.reconcile()
    assert (clinic.status()["release"], clinic.status()["previous"]) == (A, [B])


def test_a_release_that_is_not_verified_reaches_no_deployment(clinic: Clinic) -> None:
    clinic.serve()
    before = clinic.deployment()
    clinic.say(a="SignaturesValid", b="BundleMismatch")
    clinic.want(B)
    clinic.operator.reconcile()
    assert clinic.deployment() == before
    assert clinic.reasons() == {"Verified": "BundleMismatch", "Loaded": "NotVerified", "Ready": "NotVerified"}
    assert "goes on serving" in clinic.message()


def test_a_deployment_that_somebody_deleted_comes_back(clinic: Clinic) -> None:
    clinic.serve()
    clinic.cluster.delete("Deployment", SPACE, "fg-infer-clinic")
    clinic.operator.reconcile()
    assert clinic.reasons()["Ready"] == "NotLoaded"
    assert clinic.deployment()["metadata"]["annotations"]["fedgestalt.org/release"] == A


def test_what_is_not_this_endpoints_is_never_touched(clinic: Clinic) -> None:
    foreign = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3}}
    clinic.cluster.create({**foreign, "metadata": {"name": "fg-infer-clinic", "namespace": SPACE}})
    clinic.say(a="SignaturesValid")
    clinic.create()
    clinic.operator.reconcile()
    assert clinic.deployment()["spec"] == {"replicas": 3}
    assert clinic.reasons()["Ready"] == "PodNotReady"
    assert "not this endpoint's" in clinic.message()


def test_its_children_go_with_the_endpoint(clinic: Clinic) -> None:
    clinic.serve()
    clinic.cluster.delete("InferenceEndpoint", SPACE, "clinic")
    assert clinic.cluster.list("Deployment", SPACE)[0] == clinic.cluster.list("Service", SPACE)[0] == []
    assert clinic.operator.reconcile()


def test_a_refusal_of_the_cluster_stands_in_the_status(clinic: Clinic) -> None:
    clinic.cluster.refuses = True
    clinic.say(a="SignaturesValid")
    clinic.create()
    clinic.operator.reconcile()
    assert clinic.reasons()["Ready"] == "PodNotReady"
    assert "cannot patch" in clinic.message()


def test_a_site_without_a_template_says_so(tmp_path: Path, pod: Pod) -> None:
    clinic = Clinic(tmp_path, pod, template=None)
    clinic.say(a="SignaturesValid")
    clinic.create()
    clinic.operator.reconcile()
    assert (clinic.reasons()["Ready"], clinic.message()) == ("PodNotReady", NO_TEMPLATE)


def test_an_unreadable_word_of_the_agent_takes_nothing_out_of_service(clinic: Clinic) -> None:
    clinic.serve()
    (clinic.folder / "releases.json").write_bytes(b"{")
    before = clinic.cluster.writes
    clinic.operator.reconcile()
    assert (clinic.reasons()["Ready"], clinic.cluster.writes) == ("Serving", before)


def test_it_runs_by_news_and_by_the_agents_word(clinic: Clinic) -> None:
    thread = threading.Thread(target=clinic.operator.run)
    thread.start()
    try:
        clinic.create()
        until(lambda: clinic.reasons().get("Verified") == "ReleaseMissing")
        clinic.say(a="SignaturesValid")
        until(clinic.deployment)
        clinic.pod.loads(A)
        clinic.roll()
        until(lambda: clinic.reasons()["Ready"] == "Serving")
    finally:
        clinic.operator.stop()
        thread.join(30)
    assert not thread.is_alive()


def test_it_counts_the_endpoints_that_are_ready(clinic: Clinic) -> None:
    clinic.serve()
    counts: list[tuple[int, int]] = []
    clinic.operator = EndpointReconciler(
        clinic.cluster,
        CheckedReleases(clinic.folder),
        AskService(clinic.pod.url),
        namespace=SPACE,
        template=TEMPLATE,
        on_ready=lambda ready, not_ready: counts.append((ready, not_ready)),
    )
    clinic.operator.reconcile()
    clinic.create(B, name="another")
    clinic.operator.reconcile()
    assert counts == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--inference-image", "i"), "claim or the host path"),
        (("--inference-image", "i", "--inference-claim", "c", "--inference-site", "/x"), "within"),
        (("--inference-image", "i", "--inference-claim", "c", "--inference-user", "0"), "10000"),
    ],
)
def test_an_inference_template_that_cannot_be_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("fedgestalt_operator.main.start_logs", lambda *_: None)
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    words = ["site", "--namespace", "n", "--silo", "west", "--hub-key", "0" * 64, "--handover", str(tmp_path)]
    words += ["--exchange-url", "https://127.0.0.1:9", "--exchange-ca", str(ca)]
    result = CliRunner().invoke(main, [*words, *options])
    assert (result.exit_code, said in result.output) == (2, True), result.output


def ask(pod: Pod, **options: Any) -> Answer:
    return AskService(pod.url, timeout=0.5, pause=0.01, **options)("fg-infer-clinic", SPACE)


def test_a_service_is_believed_when_it_names_a_digest(pod: Pod) -> None:
    pod.loads(A)
    assert ask(pod) == Answer(A)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b"{}", "status 503"),
        (200, b"{}", "names no release"),
        (200, b'{"digest": "latest"}', "names no release"),
        (200, b"[]", "names no release"),
        (200, b"x" * 70_000, "too long"),
        (302, b"", "status 302"),
    ],
)
def test_any_other_answer_is_silence_with_a_cause(pod: Pod, status: int, body: bytes, said: str) -> None:
    pod.status, pod.body = status, body
    answer = ask(pod)
    assert (answer.release, said in answer.silence) == ("", True)


def test_a_service_that_hangs_or_is_gone_is_asked_again_and_then_given_up(pod: Pod) -> None:
    pod.hang.clear()
    assert ask(pod) == Answer(silence="no answer in time")
    assert pod.asked == 2
    gone = AskService("http://127.0.0.1:9", timeout=0.5, pause=0.01)("fg-infer-clinic", SPACE)
    assert gone == Answer(silence="not reachable (ConnectError)")


def test_the_address_is_made_of_name_and_namespace() -> None:
    with pytest.raises(ValueError, match="is no URL"):
        AskService("clinic:8080")
