"""Random schedules of an endpoint: changes of mind, damaged files, lost calls, kills and deleted objects, in any order.

Whatever came before, Ready never says more than is so, nothing unverified reaches a pod, and once the trouble ends the wanted
release is in service and nothing is written any more.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.files import private_directory, write_atomic
from fedgestalt_operator.api.conditions import Truth
from fedgestalt_operator.api.reasons import VerifiedReason
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.deployments import InferenceTemplate, rollout_of
from fedgestalt_operator.kube.errors import ClusterUnavailable, NotFound
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.port import Document
from fedgestalt_operator.kube.validate import validate_file
from fedgestalt_operator.plan import endpoint as planner
from fedgestalt_operator.plan.endpoint_types import Answer, Rollout, SeenEndpoint
from fedgestalt_operator.site import endpoints as site
from fedgestalt_operator.site.checked import CheckedReleases
from fedgestalt_operator.site.endpoints import EndpointReconciler

from .pod import rolled_out

SPACE, NAME = "clinic", "fg-infer-clinic"
DIGESTS = [f"sha256:{digit * 64}" for digit in "abc"]
STEPS, SEEDS = 40, 20


class Unreliable(MemoryCluster):
    """Loses one call in ten, before or after it took effect, while `faults` is given."""

    faults: random.Random | None = None
    writes = 0

    def _lose(self) -> None:
        if self.faults is not None and self.faults.random() < 0.1:
            raise ClusterUnavailable("connection lost")

    def list(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> Any:
        self._lose()
        return super().list(kind, namespace, labels)

    def apply(self, document: Mapping[str, Any]) -> Document:
        self._lose()
        self.writes += 1
        found = super().apply(document)
        self._lose()
        return found

    def patch_status(self, *args: Any, **kwargs: Any) -> Document:
        self._lose()
        self.writes += 1
        found = super().patch_status(*args, **kwargs)
        self._lose()
        return found


class World:
    """One endpoint and everything around it, moved by a generator of random numbers."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.folder, self.cluster = random.Random(seed), folder, Unreliable()
        self.time = 1_800_000_000.0
        self.loaded = ""  # by the pod that the Service leads to
        self.answers = True
        self.valid = set(DIGESTS[:2])
        self.approved: set[str] = set()  # named by the person and valid at one time
        self.served: set[str] = set()
        document = validate_file(crd_folder() / "examples" / "valid" / "endpoint-minimal.yaml")[0]
        document["metadata"] = {"name": "clinic", "namespace": SPACE}
        document["spec"] |= {"release": DIGESTS[0], "keepPrevious": 2}
        self.cluster.create(document)
        self.say()
        self.restart()

    # ------------------------------------------------------------------ what can happen

    def say(self) -> None:
        found = {
            d: {"reason": "SignaturesValid" if d in self.valid else "BundleMismatch", "message": ""}
            for d in DIGESTS
        }
        write_atomic(self.folder / "releases.json", json.dumps({"releases": found}).encode())

    def restart(self) -> None:
        self.operator = EndpointReconciler(
            self.cluster,
            CheckedReleases(self.folder),
            lambda name, namespace: (
                Answer(self.loaded) if self.answers else Answer(silence="no answer in time")
            ),
            namespace=SPACE,
            template=InferenceTemplate(image="registry/inference:1", claim="agent"),
            now=lambda: self.time,
        )

    def want(self) -> None:
        document = self.cluster.get("InferenceEndpoint", SPACE, "clinic")
        document["spec"]["release"] = self.random.choice(DIGESTS)
        self.quietly(lambda: self.cluster.apply(document))

    def damage_or_mend(self) -> None:
        self.valid ^= {self.random.choice(DIGESTS)}
        self.say()

    def lose_the_agent(self) -> None:
        (self.folder / "releases.json").unlink(missing_ok=True)

    def roll(self, late: bool = False) -> None:
        """The Deployment's controller and the kubelet: the new pod replaces the old one, or is late."""
        try:
            deployment = self.cluster.get("Deployment", SPACE, NAME)
        except NotFound:
            return
        if late:
            status = rolled_out(deployment, pods=2 if self.loaded else 1, available=1 if self.loaded else 0)
            status["conditions"][0] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
        else:
            status = rolled_out(deployment)
            self.loaded = rollout_of(deployment).release
        self.quietly(lambda: self.cluster.patch_status("Deployment", SPACE, NAME, status))

    def hush(self) -> None:
        self.answers = not self.answers

    def delete(self, kind: str) -> None:
        if kind == "status":
            self.quietly(lambda: self.cluster.patch_status("InferenceEndpoint", SPACE, "clinic", {}))
            return
        try:
            self.cluster.delete(kind, SPACE, NAME)
        except NotFound:
            return
        if kind == "Deployment":
            self.loaded = ""

    def quietly(self, act: Any) -> None:
        faults, self.cluster.faults = self.cluster.faults, None
        writes = self.cluster.writes
        act()
        self.cluster.faults, self.cluster.writes = faults, writes

    # ------------------------------------------------------------------ what must hold

    def look(self) -> None:
        """One pass of the operator, cut short or not, and what must be so after it."""
        wanted = self.cluster.get("InferenceEndpoint", SPACE, "clinic")["spec"]["release"]
        if wanted in self.valid:
            self.approved.add(wanted)
        try:
            self.operator.reconcile()
        except ClusterUnavailable:
            return
        status = self.cluster.get("InferenceEndpoint", SPACE, "clinic").get("status", {})
        if status.get("release"):
            self.served.add(status["release"])
        if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())):
            assert self.answers
            assert self.loaded == wanted == status["release"]
            assert wanted in self.approved
        assert set(status.get("previous", ())) <= self.served
        for deployment in self.cluster._objects.values():
            if deployment["kind"] == "Deployment":
                assert rollout_of(deployment).release in self.approved

    def settle(self) -> None:
        """The trouble ends: the wanted release is in service, and then nothing is written."""
        self.cluster.faults, self.answers, self.valid = None, True, set(DIGESTS)
        self.say()
        self.restart()
        for _ in range(3):
            self.look()
            self.roll()
        self.look()
        document = self.cluster.get("InferenceEndpoint", SPACE, "clinic")
        reasons = {c["type"]: c["reason"] for c in document["status"]["conditions"]}
        assert reasons == {"Verified": "SignaturesValid", "Loaded": "ModelLoaded", "Ready": "Serving"}
        assert document["status"]["release"] == document["spec"]["release"]
        writes = self.cluster.writes
        for _ in range(3):
            self.time += 60
            self.look()
        assert self.cluster.writes == writes


def play(folder: Path, seed: int) -> None:
    """One schedule. Raises AssertionError where something that must hold does not."""
    world = World(folder, seed)
    world.cluster.faults = world.random
    happenings = [
        world.want,
        world.damage_or_mend,
        world.roll,
        world.roll,
        lambda: world.roll(late=True),
        world.hush,
        world.restart,
        world.say,
        world.lose_the_agent,
        lambda: world.delete("status"),
        lambda: world.delete("Deployment"),
        lambda: world.delete("Service"),
    ]
    for _ in range(STEPS):
        world.random.choice(happenings)()
        world.time += 1
        world.look()
    world.settle()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_ready_is_true_and_in_the_end_the_wanted_release_is_served(
    tmp_path: Path, seed: int
) -> None:
    play(tmp_path, seed)


def _deploys_what_nobody_verified(patch: pytest.MonkeyPatch) -> None:
    always = (Truth.TRUE, VerifiedReason.SIGNATURES_VALID, "")
    patch.setattr(planner, "_verified", lambda endpoint, seen, old: always)


def _believes_the_deployment_instead_of_the_service(patch: pytest.MonkeyPatch) -> None:
    def seen(
        releases: Any, checked: Any, rollout: Rollout | None, answer: Answer, hindrance: str
    ) -> SeenEndpoint:
        said = answer if rollout is None else Answer(rollout.release)
        return SeenEndpoint(releases, checked, rollout, said, hindrance)

    patch.setattr(site, "SeenEndpoint", seen)


def _applies_what_is_there(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(site, "changed", lambda wanted, live: True)


def _calls_a_release_a_way_back_that_never_served(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(planner, "_history", lambda endpoint, seen, old: tuple(DIGESTS))


@pytest.mark.parametrize(
    "break_it",
    [
        _deploys_what_nobody_verified,
        _believes_the_deployment_instead_of_the_service,
        _applies_what_is_there,
        _calls_a_release_a_way_back_that_never_served,
    ],
)
def test_a_mistake_is_found_by_these_schedules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    break_it(monkeypatch)
    for seed in range(SEEDS):
        try:
            play(private_directory(tmp_path / str(seed)), seed)
        except AssertionError:
            return
    pytest.fail("no schedule noticed")
