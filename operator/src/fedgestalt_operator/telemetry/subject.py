"""The object that a log line, an Event or a metric is about, and the closed set of kinds that may be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Resource(StrEnum):
    """Kinds that the operator reconciles or watches: the only values of the label `kind` of its metrics."""

    FEDERATION_ROUND = "FederationRound"
    SILO = "Silo"
    SILO_TASK = "SiloTask"
    RELEASE = "Release"
    PARTICIPATION_GRANT = "ParticipationGrant"
    INFERENCE_ENDPOINT = "InferenceEndpoint"
    DEPLOYMENT = "Deployment"
    JOB = "Job"
    POD = "Pod"
    CONFIG_MAP = "ConfigMap"


@dataclass(frozen=True, slots=True)
class Subject:
    """One object of the cluster, as an Event's `involvedObject` names it."""

    kind: Resource
    namespace: str
    name: str
    uid: str
    api_version: str
    resource_version: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Subject:
        """The subject of a document that the cluster returned.

        Raises:
            ValueError: the document is of a kind that the operator does not deal in.
        """
        metadata = document["metadata"]
        return cls(
            kind=Resource(document["kind"]),
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            api_version=document["apiVersion"],
            resource_version=metadata.get("resourceVersion", ""),
        )
