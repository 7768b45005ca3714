"""The cluster port: the few verbs through which everything above sees a cluster, real or in memory.

Documents are plain JSON objects with apiVersion, kind and metadata. Kinds of this project and of batch/v1 are
told apart by their kind alone. Adapters return copies: changing one changes nothing in the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

Document = dict[str, Any]


class EventType(StrEnum):
    """What a watch reports."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one object; a deleted one is given in its last state."""

    type: EventType
    object: Document


class Cluster(Protocol):
    """What an adapter offers. Every call may also raise ClusterError when the cluster cannot be reached."""

    def get(self, kind: str, namespace: str, name: str) -> Document:
        """One object. Raises NotFound."""
        ...

    def list(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Document], str]:
        """Objects that carry all `labels`, sorted by name, and the resourceVersion to watch from."""
        ...

    def watch(self, kind: str, namespace: str, version: str, timeout: float) -> Iterator[Event]:
        """Changes after `version`, until `timeout` seconds have passed. Raises Gone."""
        ...

    def create(self, document: Mapping[str, Any]) -> Document:
        """Create an object; its status is dropped. Raises AlreadyExists, and ValueError for an invalid
        document.
        """
        ...

    def apply(self, document: Mapping[str, Any]) -> Document:
        """Create the object or replace its spec, labels and annotations.

        Raises ValueError for an invalid document, Conflict if its resourceVersion is not the current one.
        """
        ...

    def patch_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], version: str | None = None
    ) -> Document:
        """Replace the status; an equal one is no write. Raises NotFound; Conflict if `version` is not
        current.
        """
        ...

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and everything that it owns. Raises NotFound."""
        ...
