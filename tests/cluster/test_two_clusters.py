"""A whole round between two clusters: the hub's operator on one API server, a hospital's on another, the exchange between.

Three hospitals are agents alone. The fourth, west, has a cluster: its operator holds no key, its agent no API token, and the
hub's API server is never dialled from there. Trainers work on small vectors; nothing else is small.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.numeric_federation import SILOS, TRAINER, VOCABULARY, document, write_cohort

from fedgestalt.files import private_directory
from fedgestalt.local.setup import Layout, make_site
from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.hub.vocabulary import vocabulary_document

from .api_server import ApiServer
from .hub import ACCOUNT as HUB_ACCOUNT
from .hub import RULES as HUB_RULES
from .hub import Hub, running_hub
from .job_runner import NodelessJobs
from .processes import Process, free_port
from .rights import granted, refused, used

pytestmark = pytest.mark.timeout(600)
RULES = Path(__file__).parents[2] / "charts" / "fedgestalt-site" / "files" / "operator-role-rules.yaml"
ACCOUNT = "fedgestalt-site"


class Hospitals:
    """Agents of all silos; west's takes its tasks from the folder that its operator shares with it."""

    def __init__(self, hub: Hub, site: ApiServer, folder: Path) -> None:
        self.hub, self.site, self.layout = hub, site, Layout(folder)
        self.namespace = site.namespace(f"west-{uuid.uuid4().hex[:8]}")
        self.processes: dict[str, Process] = {}

    def start(self) -> None:
        for name in SILOS:
            home = private_directory(self.layout.silo(name))
            self.hub.silos[name].save(home / "identity.pem")
            write_cohort(self.layout.root / "cohorts" / name, name, 1)
        for name in SILOS:
            path = self._site(name)
            if name == "west":
                self._hand_over(path)
            agent = ["fedgestalt", "silo", "agent", "--site", str(path)]
            command = [Path(sys.executable).with_name(agent[0]), *agent[1:]]
            folder = private_directory(self.layout.logs / name)
            self.processes[name] = Process(folder, command)

    def _site(self, name: str) -> Path:
        return make_site(
            self.layout,
            name,
            cohort=self.layout.root / "cohorts" / name,
            dataset="numbers",
            hub_key=self.hub.key.public,
            identities={silo: key.public for silo, key in self.hub.silos.items()},
            exchange_url=self.hub.exchange_url,
            ca_file=self.hub.ca,
            min_silos=3,
            operation="Train",
            purpose="DUO:0000006",
            seed=1,
            workload=[sys.executable, str(TRAINER)],
        )

    def _hand_over(self, path: Path) -> None:
        """West's site: the grant stands in its cluster, the operator has the rights of the chart."""
        content = json.loads(path.read_text())
        grant = yaml.safe_load((path.parent / "grant.yaml").read_text())
        del content["grant"]
        path.write_text(json.dumps({**content, "handover": "shared"}))
        group = f"/apis/{API_VERSION}/namespaces/{self.namespace}"
        grant["metadata"] = {"name": "rare-faces"}
        self.site.create(f"{group}/participationgrants", grant)
        self.site.service_account(self.namespace, ACCOUNT)
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        rules = yaml.safe_load(RULES.read_text())
        self.site.create(f"{rbac}/roles", {"metadata": {"name": ACCOUNT}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.namespace}
        binding = {"metadata": {"name": ACCOUNT}, "roleRef": reference, "subjects": [subject]}
        self.site.create(f"{rbac}/rolebindings", binding)
        self.start_operator()

    def start_operator(self) -> None:
        """West's operator, or a new one after a kill."""
        options = {
            "namespace": self.namespace,
            "silo": "west",
            "exchange-url": self.hub.exchange_url,
            "exchange-ca": self.hub.ca,
            "hub-key": self.hub.key.public.hex(),
            "handover": self.layout.silo("west") / "shared",
            "kubeconfig": self.site.kubeconfig(
                f"system:serviceaccount:{self.namespace}:{ACCOUNT}", self.namespace
            ),
            "probe-host": "127.0.0.1",
            "probe-port": free_port(),
            "log-format": "text",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        command = [Path(sys.executable).with_name("fedgestalt-operator"), "site", *words]
        self.processes["operator"] = Process(private_directory(self.layout.logs / "west"), command)

    def list(self, plural: str) -> list[dict[str, Any]]:
        """West's own resources."""
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}"
        items: list[dict[str, Any]] = self.site.call("GET", path)["items"]
        return items

    def wait_for_releases(self, seconds: float = 60) -> list[dict[str, Any]]:
        """West's Releases once there is one."""
        end = time.monotonic() + seconds
        while not (found := self.list("releases")):
            if time.monotonic() > end:
                raise TimeoutError(f"no Release came to the site within {seconds:.0f} s")
            time.sleep(0.2)
        return found

    def wait_for_checked(self, seconds: float = 60) -> dict[str, Any]:
        """The status of west's Release once it says what the agent found of it on west's disk."""
        end = time.monotonic() + seconds
        while True:
            status: dict[str, Any] = self.list("releases")[0].get("status", {})
            if any(c["reason"] != "ReleaseMissing" for c in status.get("conditions", ())):
                return status
            if time.monotonic() > end:
                raise TimeoutError(f"the Release at the site says {status}")
            time.sleep(0.2)

    def stop(self) -> None:
        for process in self.processes.values():
            process.stop()


def phase(round: dict[str, Any]) -> str:
    return str(round.get("status", {}).get("phase", ""))


@dataclass
class Played:
    """A round that is over, and what it left in both clusters."""

    hub: Hub
    hospitals: Hospitals
    jobs: list[str]
    training: dict[str, Any]
    done: dict[str, Any]


@pytest.fixture(scope="module")
def played(
    api_server: ApiServer, site_server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    """From `kubectl apply` to the release; both operators are killed in the middle."""
    folder = tmp_path_factory.mktemp("two-clusters")
    namespace = api_server.namespace(f"hub-{uuid.uuid4().hex[:8]}")
    with running_hub(api_server, namespace, folder / "hub", SILOS) as hub:
        vocabulary = vocabulary_document("numbers", namespace, VOCABULARY)
        api_server.create(f"/api/v1/namespaces/{namespace}/configmaps", vocabulary)
        hospitals = Hospitals(hub, site_server, folder / "sites")
        with NodelessJobs(hub, folder / "jobs") as jobs:
            try:
                hospitals.start()
                hub.create(document(SILOS))
                training = hub.wait_for("federationrounds", "numbers", lambda d: phase(d) == "Training", 200)
                # What was done is done, what is open goes on.
                assert hub.operator is not None
                hub.operator.kill()
                hospitals.processes["operator"].kill()
                hub.start_operator()
                hospitals.start_operator()
                hub.wait_ready(120)
                over = ("Succeeded", "Failed")
                done = hub.wait_for("federationrounds", "numbers", lambda d: phase(d) in over, 300)
                yield Played(hub, hospitals, jobs.ran, training, done)
            finally:
                hospitals.stop()
        assert jobs.failure is None, jobs.failure


def test_the_round_succeeds_and_no_job_runs_twice(played: Played) -> None:
    assert phase(played.done) == "Succeeded", played.done["status"]
    assert played.training["status"]["roster"] == SILOS
    assert played.jobs
    assert len(played.jobs) == len(set(played.jobs))


def test_the_release_is_a_resource_that_says_what_the_round_yielded(played: Played) -> None:
    hub = played.hub
    (release,) = hub.list("releases")
    assert release["spec"]["digest"] == f"sha256:{played.done['status']['releaseDigest']}"
    assert (release["spec"]["synthetic"], len(release["spec"]["signers"])) == (True, 4)
    found = hub.wait_for("releases", release["metadata"]["name"], lambda d: "status" in d)
    conditions = {c["type"]: c["reason"] for c in found["status"]["conditions"]}
    assert conditions == {"Published": "Served", "RotationDue": "NotDue"}


def test_the_hospitals_own_cluster_shows_its_tasks_and_its_grants_use(played: Played) -> None:
    tasks = {t["spec"]["kind"]: t["status"]["phase"] for t in played.hospitals.list("silotasks")}
    assert tasks["Enrol"] == tasks["Train"] == "Succeeded"
    (release,) = played.hospitals.wait_for_releases()
    assert release["spec"] == played.hub.list("releases")[0]["spec"]
    status = played.hospitals.wait_for_checked()
    assert status["summary"] == {"signed": "4/4"}
    assert (
        status["conditions"][0]["reason"] == "BundleMismatch"
    )  # the numeric trainer's bundle is no extractor
    (grant,) = played.hospitals.list("participationgrants")
    assert grant["status"]["used"] == 1
    assert grant["status"]["conditions"][0]["reason"] == "Granted"


def test_the_status_is_a_projection_that_comes_back_without_a_job_or_a_decision_more(played: Played) -> None:
    hub, uid = played.hub, played.done["metadata"]["uid"]
    with hub.hub_client() as client:
        decisions = len(client.entries(uid, 0))
    hub.server.call("PATCH", f"{hub.group}/federationrounds/numbers/status", {"status": None})
    again = hub.wait_for("federationrounds", "numbers", lambda d: phase(d) == "Succeeded")
    for moving in ("silos", "summary"):
        played.done["status"].pop(moving), again["status"].pop(moving)
    assert again["status"] == played.done["status"]
    with hub.hub_client() as client:
        assert len(client.entries(uid, 0)) == decisions


# Granted for what a good round does not need; each has a test of its own elsewhere.
HUB_RARELY = {
    ("delete", "jobs"),  # a question was settled while its Job ran
    ("delete", "federationrounds"),  # ttlAfterFinished: test_hub.py
    ("get", "silotasks"),  # one of that name is there already
    ("get", "jobs"),  # the same
    ("get", "events"),  # an Event that is said again
    ("patch", "events"),  # the same
}
SITE_RARELY = {
    ("delete", "silotasks"),  # the hub took a task back
    ("get", "events"),  # an Event that is said again
    ("patch", "events"),  # the same
    # An InferenceEndpoint: test_endpoint.py
    ("create", "deployments"),
    ("patch", "deployments"),
    ("list", "services"),
    ("create", "services"),
    ("patch", "services"),
    ("patch", "inferenceendpoints/status"),
}


def test_the_hubs_operator_uses_the_rights_that_its_chart_grants_and_is_never_refused(played: Played) -> None:
    """Lesson 11: rights wider than needed. Every verb that the chart grants is used, and none is missing."""
    hub = played.hub
    assert refused(hub.server, hub.namespace, HUB_ACCOUNT) == set()
    found = used(hub.server, hub.namespace, HUB_ACCOUNT)
    assert found - granted(HUB_RULES) == set()
    assert granted(HUB_RULES) - found <= HUB_RARELY


def test_the_sites_operator_uses_the_rights_that_its_chart_grants_and_is_never_refused(
    played: Played,
) -> None:
    """Lesson 11: the same at the hospital."""
    west = played.hospitals
    assert refused(west.site, west.namespace, ACCOUNT) == set()
    found = used(west.site, west.namespace, ACCOUNT)
    assert found - granted(RULES) == set()
    assert granted(RULES) - found <= SITE_RARELY


def test_the_same_agents_train_the_next_round_too(played: Played) -> None:
    hub = played.hub
    hub.create({**document(SILOS), "metadata": {"name": "numbers-2"}})
    over = ("Succeeded", "Failed")
    done = hub.wait_for("federationrounds", "numbers-2", lambda d: phase(d) in over, 300)
    assert phase(done) == "Succeeded", done["status"]
    assert done["status"]["roster"] == SILOS
    assert all(process.running for process in played.hospitals.processes.values())
    (grant,) = played.hospitals.list("participationgrants")
    assert grant["status"]["used"] == 2
