"""Vocabularies: the lists of syndromes that rounds name, kept as ConfigMaps beside them."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from ..api.round import FederationRound
from ..kube.errors import NotFound
from ..kube.port import Cluster, Document

KEY: Final = "vocabulary.json"
SYNTHETIC_PREFIX: Final = "SYN:"


def vocabulary_document(name: str, namespace: str, content: bytes) -> Document:
    """The ConfigMap of a vocabulary, as `kubectl create configmap NAME --from-file=vocabulary.json` makes it."""
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: content.decode()}}


def find_vocabulary(cluster: Cluster, round: FederationRound) -> bytes | None:
    """The vocabulary with the digest that the round names; None if there is none of that name and digest."""
    wanted = round.spec["vocabulary"]
    try:
        found = cluster.get("ConfigMap", round.metadata.namespace, wanted["name"])
    except NotFound:
        return None
    content = str(found.get("data", {}).get(KEY, "")).encode()
    digest = hashlib.sha256(content).hexdigest()
    return content if digest == wanted["digest"].removeprefix("sha256:") else None


def is_synthetic(vocabulary: bytes) -> bool:
    """Whether all syndromes are of the built-in generator: such data says nothing about patients."""
    lists = json.loads(vocabulary).values()
    names = [name for entries in lists if isinstance(entries, list) for name in entries]
    return bool(names) and all(str(name).startswith(SYNTHETIC_PREFIX) for name in names)
