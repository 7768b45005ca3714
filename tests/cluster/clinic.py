"""A hospital's clinic on a real API server: the site's operator as a process under the rights of its chart."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml
from tests.unit.site.pod import Pod, rolled_out

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.tls import make_tls
from fedgestalt.files import write_atomic
from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.validate import validate_file

from .api_server import ApiError, ApiServer
from .processes import Process, free_port

RULES: Final = Path(__file__).parents[2] / "charts" / "fedgestalt-site" / "files" / "operator-role-rules.yaml"
ACCOUNT: Final = "fedgestalt-site"
A, B, C = (f"sha256:{digit * 64}" for digit in "abc")


class Clinic:
    """A namespace with an operator, and the folder into which its agent would write."""

    def __init__(self, server: ApiServer, folder: Path, pod: Pod) -> None:
        self.server, self.folder, self.pod = server, folder, pod
        self.namespace = server.namespace(f"clinic-{uuid.uuid4().hex[:8]}")
        self.group = f"/apis/{API_VERSION}/namespaces/{self.namespace}"
        self.shared = folder / "shared"
        self.shared.mkdir(parents=True)
        self.tls = make_tls(folder / "tls", ["127.0.0.1"])
        self.hub = Identity.generate().public.hex()
        self._grant_rights()
        self.operator = self._start()

    def _grant_rights(self) -> None:
        self.server.service_account(self.namespace, ACCOUNT)
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        rules = yaml.safe_load(RULES.read_text())
        self.server.create(f"{rbac}/roles", {"metadata": {"name": ACCOUNT}, "rules": rules})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.namespace}
        binding = {"metadata": {"name": ACCOUNT}, "roleRef": reference, "subjects": [subject]}
        self.server.create(f"{rbac}/rolebindings", binding)

    def _start(self) -> Process:
        options = {
            "namespace": self.namespace,
            "silo": "west",
            "exchange-url": f"https://127.0.0.1:{free_port()}",  # nobody: the hub is away all the time
            "exchange-ca": self.tls.ca,
            "hub-key": self.hub,
            "handover": self.shared,
            "inference-image": "registry/inference:1",
            "inference-claim": "agent",
            "inference-url": f"{self.pod.url}/{{name}}",
            "kubeconfig": self.server.kubeconfig(
                f"system:serviceaccount:{self.namespace}:{ACCOUNT}", self.namespace
            ),
            "probe-host": "127.0.0.1",
            "probe-port": free_port(),
            "log-format": "text",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        return Process(self.folder, [Path(sys.executable).with_name("fedgestalt-operator"), "site", *words])

    def restart(self) -> None:
        """Kill the operator, as a power cut would, and start another one."""
        self.operator.kill()
        self.operator = self._start()

    def say(self, **reasons: str) -> None:
        """The agent has verified releases, by the digit of which their digests are made."""
        found = {f"sha256:{d * 64}": {"reason": reason, "message": ""} for d, reason in reasons.items()}
        write_atomic(self.shared / "releases.json", json.dumps({"releases": found}).encode(), mode=0o640)

    def create(self, name: str, wanted: str, **spec: Any) -> None:
        document = {
            "apiVersion": API_VERSION,
            "kind": "InferenceEndpoint",
            "metadata": {"name": name},
            "spec": {"release": wanted, **spec},
        }
        self.server.create(f"{self.group}/inferenceendpoints", document)

    def want(self, name: str, wanted: str) -> None:
        self.server.call("PATCH", f"{self.group}/inferenceendpoints/{name}", {"spec": {"release": wanted}})

    def get(self, name: str) -> dict[str, Any]:
        return self.server.call("GET", f"{self.group}/inferenceendpoints/{name}")

    def mirror(self, name: str, digest: str, *parents: str) -> None:
        """A Release, as the link would bring it."""
        document = validate_file(crd_folder() / "examples" / "valid" / "release-train.yaml")[0]
        document["metadata"] = {"name": name}
        document["spec"] |= {"digest": digest, "parents": list(parents)}
        self.server.create(f"{self.group}/releases", document)

    def path(self, kind: str, name: str) -> str:
        root = {"deployments": "/apis/apps/v1", "services": "/api/v1"}[kind]
        return f"{root}/namespaces/{self.namespace}/{kind}/fg-infer-{name}"

    def child(self, kind: str, name: str) -> dict[str, Any]:
        return self.server.call("GET", self.path(kind, name))

    def deployed(self, name: str) -> str:
        """The digest that the Deployment is for; empty without one."""
        try:
            found: str = self.child("deployments", name)["metadata"]["annotations"]["fedgestalt.org/release"]
        except ApiError as error:
            if error.code != 404:
                raise
            return ""
        return found

    def roll(self, name: str, **pods: int) -> None:
        """As the Deployment controller says it."""
        status = rolled_out(self.child("deployments", name), **pods)
        self.server.call("PATCH", f"{self.path('deployments', name)}/status", {"status": status})

    def reasons(self, name: str) -> dict[str, str]:
        return {c["type"]: c["reason"] for c in self.get(name).get("status", {}).get("conditions", ())}

    def until(self, holds: Callable[[], object], what: str, seconds: float = 60) -> None:
        self.operator.wait_until(lambda: bool(holds()), what, seconds)

    def until_ready(self, name: str, reason: str) -> dict[str, Any]:
        self.until(lambda: self.reasons(name).get("Ready") == reason, f"{name} is {reason}")
        found: dict[str, Any] = self.get(name)["status"]
        return found

    def serve(self, name: str, wanted: str) -> dict[str, Any]:
        """From nothing to Ready."""
        self.create(name, wanted)
        self.until(lambda: self.deployed(name) == wanted, "there is a Deployment")
        self.pod.loads(wanted, f"fg-infer-{name}")
        self.roll(name)
        return self.until_ready(name, "Serving")
