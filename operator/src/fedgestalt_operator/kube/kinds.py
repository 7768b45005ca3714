"""Where an API server serves each kind that the operator touches: a table in place of discovery calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ..api import API_VERSION


@dataclass(frozen=True, slots=True)
class ServedKind:
    """One kind as the API server serves it."""

    kind: str
    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object or its subresource.

        Raises:
            ValueError: a namespaced kind without a namespace, or another one with it.
        """
        if self.namespaced != bool(namespace):
            need = (
                "give the namespace it lives in" if self.namespaced else "it lives in no namespace: give ''"
            )
            raise ValueError(f"{self.kind} {name or 'list'} with namespace {namespace!r}: {need}")
        root = "/apis/" if "/" in self.api_version else "/api/"
        scope = ["namespaces", namespace] if namespace else []
        steps = [*scope, self.plural, *filter(None, (name, subresource))]
        return root + self.api_version + "".join("/" + quote(step, safe="") for step in steps)


_KINDS: Final = {
    served.kind: served
    for served in (
        ServedKind("FederationRound", API_VERSION, "federationrounds"),
        ServedKind("Silo", API_VERSION, "silos"),
        ServedKind("SiloTask", API_VERSION, "silotasks"),
        ServedKind("Release", API_VERSION, "releases"),
        ServedKind("ParticipationGrant", API_VERSION, "participationgrants"),
        ServedKind("InferenceEndpoint", API_VERSION, "inferenceendpoints"),
        ServedKind("Job", "batch/v1", "jobs"),
        ServedKind("Deployment", "apps/v1", "deployments"),
        ServedKind("Service", "v1", "services"),
        ServedKind("Pod", "v1", "pods"),
        ServedKind("Event", "v1", "events"),
        ServedKind("ConfigMap", "v1", "configmaps"),
        ServedKind("Secret", "v1", "secrets"),
        ServedKind("Lease", "coordination.k8s.io/v1", "leases"),
        ServedKind("RayJob", "ray.io/v1", "rayjobs"),
        ServedKind("Namespace", "v1", "namespaces", namespaced=False),
    )
}


def served(kind: str, api_version: str | None = None) -> ServedKind:
    """The table's entry of a kind.

    Raises:
        ValueError: the table has no such kind, or has it in another version than `api_version`.
    """
    found = _KINDS.get(kind)
    if found is None:
        raise ValueError(f"{kind} is no kind that the cluster port serves; use one of {', '.join(_KINDS)}")
    if api_version not in (None, found.api_version):
        raise ValueError(
            f"{kind} has apiVersion {api_version!r}; the cluster port serves {found.api_version}"
        )
    return found
