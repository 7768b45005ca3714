"""A whole round between two clusters: the hub's operator on one API server, a hospital's on another, the exchange between.

Three hospitals are agents alone. The fourth, west, has a cluster: its operator holds no key, its agent no API token, and the
hub's API server is never dialled from there. Trainers work on small vectors; nothing else is small.
"""

from __future__ import annotations

import json
import sys
import uuid
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
from .hub import Hub, running_hub
from .job_runner import NodelessJobs
from .processes import Process, free_port

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

    def stop(self) -> None:
        for process in self.processes.values():
            process.stop()


def phase(round: dict[str, Any]) -> str:
    return str(round.get("status", {}).get("phase", ""))


def test_a_round_runs_from_apply_to_release_between_two_clusters(
    api_server: ApiServer, site_server: ApiServer, tmp_path: Path
) -> None:
    namespace = api_server.namespace(f"hub-{uuid.uuid4().hex[:8]}")
    with running_hub(api_server, namespace, tmp_path / "hub", SILOS) as hub:
        vocabulary = vocabulary_document("numbers", namespace, VOCABULARY)
        api_server.create(f"/api/v1/namespaces/{namespace}/configmaps", vocabulary)
        hospitals = Hospitals(hub, site_server, tmp_path / "sites")
        with NodelessJobs(hub, tmp_path / "jobs") as jobs:
            try:
                hospitals.start()
                hub.create(document(SILOS))
                training = hub.wait_for("federationrounds", "numbers", lambda d: phase(d) == "Training", 200)
                # Both operators die in the middle; what was done is done, what is open goes on.
                assert hub.operator is not None
                hub.operator.kill()
                hospitals.processes["operator"].kill()
                hub.start_operator()
                hospitals.start_operator()
                hub.wait_ready(120)
                over = ("Succeeded", "Failed")
                done = hub.wait_for("federationrounds", "numbers", lambda d: phase(d) in over, 300)
            finally:
                hospitals.stop()
        assert jobs.failure is None, jobs.failure
        assert phase(done) == "Succeeded", done["status"]
        assert len(jobs.ran) == len(set(jobs.ran)), "no Job ran twice"
        assert training["status"]["roster"] == SILOS

        (release,) = hub.list("releases")
        assert release["spec"]["digest"] == f"sha256:{done['status']['releaseDigest']}"
        assert (release["spec"]["synthetic"], len(release["spec"]["signers"])) == (True, 4)
        found = hub.wait_for("releases", release["metadata"]["name"], lambda d: "status" in d)
        conditions = {c["type"]: c["reason"] for c in found["status"]["conditions"]}
        assert conditions == {"Published": "Served", "RotationDue": "NotDue"}

        tasks = {t["spec"]["kind"]: t["status"]["phase"] for t in hospitals.list("silotasks")}
        assert tasks["Enrol"] == tasks["Train"] == "Succeeded"
        (grant,) = hospitals.list("participationgrants")
        assert grant["status"]["used"] == 1
        assert grant["status"]["conditions"][0]["reason"] == "Granted"
