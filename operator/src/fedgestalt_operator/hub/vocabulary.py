"""Vocabularies: the lists of syndromes that rounds name, kept as ConfigMaps beside them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ..api.round import FederationRound
from ..kube.errors import NotFound
from ..kube.port import Cluster, Document

KEY: Final = "vocabulary.json"
SYNTHETIC_PREFIX: Final = "SYN:"
FRESH: Final = 1.0
"""Seconds for which a vocabulary is not read again."""
KEPT: Final = 8


def vocabulary_document(name: str, namespace: str, content: bytes) -> Document:
    """The ConfigMap of a vocabulary, as `kubectl create configmap NAME --from-file=vocabulary.json` makes it."""
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: content.decode()}}


class Vocabularies:
    """Vocabularies that rounds name. One look serves every round that names the same one. Safe for threads."""

    def __init__(self, cluster: Cluster, now: Callable[[], float]) -> None:
        self._cluster, self._now = cluster, now
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()

    def find(self, round: FederationRound) -> bytes | None:
        """The vocabulary with the digest that the round names, at most a second old; None if there is none of that name
        and digest.
        """
        wanted = round.spec["vocabulary"]
        place = (round.metadata.namespace, str(wanted["name"]))
        digest = wanted["digest"].removeprefix("sha256:")
        with self._lock:
            at, content = self._seen.get(place, (0.0, b""))
        # Only what is right is remembered: one that is missing or was replaced is looked for each time.
        if not 0.0 <= self._now() - at < FRESH or hashlib.sha256(content).hexdigest() != digest:
            content = self._read(*place)
        return content if hashlib.sha256(content).hexdigest() == digest else None

    def _read(self, namespace: str, name: str) -> bytes:
        try:
            found = self._cluster.get("ConfigMap", namespace, name)
        except NotFound:
            return b""
        content = str(found.get("data", {}).get(KEY, "")).encode()
        with self._lock:
            self._seen[namespace, name] = (self._now(), content)
            self._seen.move_to_end((namespace, name))
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        return content


def is_synthetic(vocabulary: bytes) -> bool:
    """Whether all syndromes are of the built-in generator: such data says nothing about patients."""
    lists = json.loads(vocabulary).values()
    names = [name for entries in lists if isinstance(entries, list) for name in entries]
    return bool(names) and all(str(name).startswith(SYNTHETIC_PREFIX) for name in names)
