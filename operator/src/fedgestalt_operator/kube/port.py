"""The cluster port: the few verbs through which everything above sees a cluster, real or in memory.

Documents are plain JSON objects with apiVersion, kind and metadata. Kinds are told apart by their kind alone;
kinds.py lists those that an API server is asked for. Adapters return copies: changing one changes nothing in the
cluster. Namespaced objects are read in one namespace at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

Document = dict[str, Any]


class EventType(StrEnum):
    """What a watch reports."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one object; a deleted one is given in its last state.

    A bookmark is no change: it says that nothing else happened up to its `version`, and its object's name is empty.
    Watching on from the last event's version, bookmarks included, keeps a quiet watch from being Gone.
    """

    type: EventType
    object: Document

    @property
    def version(self) -> str:
        """The resourceVersion to watch on from."""
        version: str = self.object["metadata"]["resourceVersion"]
        return version


class Cluster(Protocol):
    """What an adapter offers. Safe for threads.

    Every call may also raise ClusterUnavailable (no answer now: a write may or may not have happened), Forbidden
    (names verb, kind and namespace) and NotServed (the cluster does not know the kind).
    """

    def get(self, kind: str, namespace: str, name: str) -> Document:
        """One object. Raises NotFound."""
        ...

    def list(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Document], str]:
        """Objects that carry all `labels`, sorted by name, and the resourceVersion to watch from."""
        ...

    def pages(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> Iterator[Sequence[Document]]:
        """As `list`, some hundred objects at a time, for whoever need not hold all of them at once.

        An iteration that is long under way may leave out or repeat what changed meanwhile.
        """
        ...

    def watch(self, kind: str, namespace: str, version: str, timeout: float) -> Iterator[Event]:
        """Changes after `version` in their order, until `timeout` seconds have passed, or up to a second more.

        Raises Gone: list, then watch anew.
        """
        ...

    def create(self, document: Mapping[str, Any]) -> Document:
        """Create an object; its status is dropped.

        Raises AlreadyExists, ValueError for an invalid document, NotFound if there is no such namespace.
        """
        ...

    def apply(self, document: Mapping[str, Any]) -> Document:
        """Create the object, or set the fields of its spec and metadata that the document has. Fields that an
        earlier apply set and this one leaves out go; an equal document is no write. For objects that nobody
        else makes: fields that came by `create` or from others may stay.

        Raises ValueError for an invalid document, Conflict if its uid or resourceVersion is not the current one.
        """
        ...

    def patch_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], version: str | None = None
    ) -> Document:
        """Replace the whole status; an equal one is no write.

        Raises NotFound, Conflict if `version` is not the current one, ValueError for an invalid status.
        """
        ...

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """Delete an object and, soon, everything that it owns.

        One with finalizers stays, with a deletionTimestamp, until an apply takes the last of them away. With
        `uid`, only that object and none made since under its name.

        Raises NotFound, Conflict if the object has another uid.
        """
        ...
