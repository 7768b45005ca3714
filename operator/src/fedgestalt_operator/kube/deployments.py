"""From an InferenceEndpoint and the site's template to one Deployment and one Service, and back to what they show.

The pod fits PodSecurity `restricted` with a claim as its volume; a host path fits only `privileged`. It has no API token.
It runs as the agent's user and without an fsGroup: the keys of a release are open to their owner only, and an fsGroup
would open them to a group.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..api import API_VERSION, GROUP
from ..api.endpoint import KIND, InferenceEndpoint
from ..plan.endpoint_types import Rollout, Serve
from .labels import MANAGER
from .port import Document

APPLIED: Final = f"{GROUP}/applied"
RELEASE: Final = f"{GROUP}/release"
PREVIOUS: Final = f"{GROUP}/previous"
ENDPOINT: Final = f"{GROUP}/endpoint"
COMPONENT: Final = "inference"
SITE: Final = "/site"
PORT: Final = 8080
LOAD_SECONDS: Final = 600
GRACE_SECONDS: Final = 45
"""More than the 30 seconds that the service gives analyses under way, and than the pause before it is told to end."""


@dataclass(frozen=True, slots=True)
class InferenceTemplate:
    """What the site's IT says of every inference pod.

    Attributes:
        image: repository with tag or digest.
        claim: PersistentVolumeClaim of the agent's folder; empty for `host_path`.
        host_path: that folder on every node; empty for `claim`.
        site_file: `site.json` in that folder: the pod gets the whole folder, identity and all, and asks the federation.
            Empty: it gets `releases/` alone and answers from the hospital's own gallery.
        user: the agent's user and group.
        service_account: whose token the pod does not get.
        gpu: resource name of `spec.resources.gpus`; runtime_class: of pods that have one.
    """

    image: str
    claim: str = ""
    host_path: str = ""
    site_file: str = ""
    user: int = 10001
    service_account: str = "default"
    gpu: str = "nvidia.com/gpu"
    runtime_class: str = ""

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: not exactly one volume, a path that leaves it, or a user that the nodes may use themselves.
        """
        if bool(self.claim) == bool(self.host_path):
            raise ValueError("give either the claim or the host path of the agent's folder")
        if self.host_path and not self.host_path.startswith("/"):
            raise ValueError(f"{self.host_path!r} is no absolute path; give the agent's folder on the nodes")
        if self.site_file.startswith("/") or ".." in self.site_file.split("/"):
            raise ValueError(f"{self.site_file!r}: give the path of site.json within the agent's folder")
        if self.user < 10_000:
            raise ValueError(f"user {self.user}: give the agent's user, 10000 or above")


def child_name(endpoint: InferenceEndpoint) -> str:
    """The name of an endpoint's Deployment and Service: at most 56 characters, a DNS label."""
    return f"fg-infer-{endpoint.metadata.name.replace('.', '-')}"


def manifests(endpoint: InferenceEndpoint, serve: Serve, template: InferenceTemplate) -> tuple[Document, ...]:
    """Deployment and Service, each with the hash of itself: equal hashes need no write."""
    labels = _labels(endpoint)
    deployment = {
        "replicas": 1,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": LOAD_SECONDS,
        # The old release serves until the new one is ready.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": _selector(endpoint)},
        "template": {
            "metadata": {"labels": labels, "annotations": {RELEASE: serve.release}},
            "spec": _pod(endpoint, serve, template),
        },
    }
    service = {
        "type": "ClusterIP",
        "selector": _selector(endpoint),
        "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
    }
    notes = {RELEASE: serve.release, PREVIOUS: json.dumps(list(serve.previous))}
    return (
        _document(endpoint, "apps/v1", "Deployment", notes, deployment),
        _document(endpoint, "v1", "Service", {}, service),
    )


def changed(wanted: Document, live: Document | None) -> bool:
    """Whether a manifest is to be applied. What the API server filled in beside it does not count."""
    return live is None or _note(live, APPLIED) != _note(wanted, APPLIED)


def owned(endpoint: InferenceEndpoint, live: Document) -> bool:
    """Whether this very endpoint made an object."""
    references = live["metadata"].get("ownerReferences", ())
    return any(reference.get("uid") == endpoint.metadata.uid for reference in references)


def rollout_of(deployment: Document) -> Rollout:
    """What a Deployment that `manifests` made shows."""
    spec, status = deployment.get("spec", {}), deployment.get("status", {})
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 1))
    updated, pods = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    conditions = {c["type"]: c for c in status.get("conditions", ())} if seen else {}
    progressing, failure = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
    late = (progressing.get("status"), progressing.get("reason")) == ("False", "ProgressDeadlineExceeded")
    return Rollout(
        release=_note(deployment, RELEASE),
        previous=_previous(_note(deployment, PREVIOUS)),
        done=seen and updated == pods == int(spec.get("replicas", 1)),
        complete=progressing.get("reason") == "NewReplicaSetAvailable",
        available=int(status.get("availableReplicas", 0)),
        failed=f"no pod of it became ready within {LOAD_SECONDS // 60} minutes" if late else "",
        refused=str(failure.get("message", "")) if failure.get("status") == "True" else "",
    )


def _selector(endpoint: InferenceEndpoint) -> dict[str, str]:
    return {"app.kubernetes.io/component": COMPONENT, ENDPOINT: endpoint.metadata.name}


def _labels(endpoint: InferenceEndpoint) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "fedgestalt",
        "app.kubernetes.io/managed-by": MANAGER,
        **_selector(endpoint),
    }


def _document(
    endpoint: InferenceEndpoint, version: str, kind: str, notes: Mapping[str, str], spec: Mapping[str, Any]
) -> Document:
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": endpoint.metadata.name,
        "uid": endpoint.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata: dict[str, Any] = {
        "name": child_name(endpoint),
        "namespace": endpoint.metadata.namespace,
        "labels": _labels(endpoint),
        "annotations": dict(notes),
        "ownerReferences": [owner],
    }
    document = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": dict(spec)}
    content = json.dumps(document, sort_keys=True).encode()
    metadata["annotations"][APPLIED] = hashlib.sha256(content).hexdigest()
    return document


def _pod(endpoint: InferenceEndpoint, serve: Serve, template: InferenceTemplate) -> dict[str, Any]:
    volume: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": template.claim}}
        if template.claim
        else {"hostPath": {"path": template.host_path, "type": "Directory"}}
    )
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "serviceAccountName": template.service_account,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": template.user,
            "runAsGroup": template.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(endpoint, serve, template)],
        "volumes": [
            {"name": "site", **volume},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}},
        ],
    }
    if endpoint.resources.gpus and template.runtime_class:
        pod["runtimeClassName"] = template.runtime_class
    return pod


def _container(endpoint: InferenceEndpoint, serve: Serve, template: InferenceTemplate) -> dict[str, Any]:
    asked = endpoint.resources
    digest = serve.release.removeprefix("sha256:")
    arguments = ["--release", f"{SITE}/releases/{digest}", "--host", "0.0.0.0", "--port", str(PORT)]
    mount: dict[str, Any] = {"name": "site", "mountPath": SITE, "readOnly": True}
    if template.site_file:
        arguments += ["--site", f"{SITE}/{template.site_file}"]
    else:
        mount |= {"mountPath": f"{SITE}/releases", "subPath": "releases"}
    limits = {"memory": asked.memory, **({template.gpu: str(asked.gpus)} if asked.gpus else {})}
    probe = {"httpGet": {"path": "/healthz", "port": "http"}}
    return {
        "name": COMPONENT,
        "image": template.image,
        "command": ["fedgestalt", "serve", *arguments],
        "env": [
            {"name": "HOME", "value": "/tmp"},
            # Without it every core of the node would get a thread, whatever the pod may use.
            {"name": "OMP_NUM_THREADS", "value": str(_cores(asked.cpu))},
            {"name": "TMPDIR", "value": "/tmp"},
        ],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": asked.cpu, "memory": asked.memory}, "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 90},
        "livenessProbe": {**probe, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
        },
        # Requests that are on their way when the pod leaves the Service are still answered.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount, {"name": "tmp", "mountPath": "/tmp"}],
    }


def _cores(cpu: str) -> int:
    return math.ceil(int(cpu[:-1]) / 1000) if cpu.endswith("m") else int(cpu)


def _note(document: Document, name: str) -> str:
    return str(document["metadata"].get("annotations", {}).get(name, ""))


def _previous(note: str) -> tuple[str, ...]:
    try:
        listed = json.loads(note)
    except ValueError:
        return ()
    found: Iterable[Any] = listed if isinstance(listed, list) else ()
    return tuple(digest for digest in found if isinstance(digest, str))
