"""The cluster port in memory: uids, resourceVersions, conflicts, watches, owned objects.

Kinds with a CRD are defaulted and validated as the API server would; others (batch/v1 Jobs) are kept as they
are. Thread-safe. Nothing is durable: what must outlive the process stands on the board.
"""

from __future__ import annotations

import copy
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from .crds import load_crds
from .errors import AlreadyExists, Conflict, Gone, NotFound
from .port import Document, Event, EventType
from .validate import validate, validate_status, with_defaults

_KEPT_EVENTS: Final = 10_000
_SERVER_FIELDS: Final = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")

Key = tuple[str, str, str]


def _new_uid() -> str:
    return str(uuid.uuid4())


class MemoryCluster:
    """A `kube.port.Cluster` in one process. `now` and `new_uid` may be given for repeatable tests."""

    def __init__(
        self, *, now: Callable[[], float] = time.time, new_uid: Callable[[], str] = _new_uid
    ) -> None:
        self._now, self._new_uid = now, new_uid
        self._objects: dict[Key, Document] = {}
        self._events: list[tuple[int, Event]] = []
        self._version = 0
        self._oldest = 0
        self._changed = threading.Condition()

    def get(self, kind: str, namespace: str, name: str) -> Document:
        """See `Cluster.get`."""
        with self._changed:
            return copy.deepcopy(self._find((kind, namespace, name)))

    def list(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Document], str]:
        """See `Cluster.list`."""
        with self._changed:
            wanted = (labels or {}).items()
            found = [
                copy.deepcopy(document)
                for (k, ns, _), document in sorted(self._objects.items())
                if (k, ns) == (kind, namespace) and wanted <= document["metadata"].get("labels", {}).items()
            ]
            return found, str(self._version)

    def pages(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> Iterator[Sequence[Document]]:
        """See `Cluster.pages`."""
        yield self.list(kind, namespace, labels)[0]

    def watch(self, kind: str, namespace: str, version: str, timeout: float) -> Iterator[Event]:
        """See `Cluster.watch`."""
        after = seen = int(version)
        end = time.monotonic() + timeout
        while True:
            with self._changed:
                if after < self._oldest:
                    raise Gone(f"events after {version} are no longer kept; list {kind} and watch anew")
                fresh = [(v, e) for v, e in self._events if v > after]
                if not fresh:
                    left = end - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                    continue
            for number, event in fresh:
                after = number
                metadata = event.object["metadata"]
                if (event.object["kind"], metadata.get("namespace", "")) == (kind, namespace):
                    seen = after
                    yield copy.deepcopy(event)
            if time.monotonic() >= end:
                break
        if after > seen:
            mark = {"kind": kind, "metadata": {"name": "", "resourceVersion": str(after)}}
            yield Event(EventType.BOOKMARK, mark)

    def create(self, document: Mapping[str, Any]) -> Document:
        """See `Cluster.create`."""
        with self._changed:
            key = _key(document)
            if key in self._objects:
                raise AlreadyExists(f"{key[0]} {key[2]} is there already")
            fresh = self._checked(document, None)
            fresh.pop("status", None)
            if fresh["kind"] in load_crds():
                fresh = with_defaults(fresh)  # a status that nobody has written may have some
            for field in _SERVER_FIELDS:
                fresh["metadata"].pop(field, None)
            born = {"uid": self._new_uid(), "generation": 1, "creationTimestamp": self._moment()}
            fresh["metadata"] |= born
            return self._store(key, fresh, EventType.ADDED)

    def restore(self, document: Mapping[str, Any]) -> Document:
        """Put an object back as it was, with its uid and status: for a process that begins where another ended."""
        with self._changed:
            return self._store(_key(document), copy.deepcopy(dict(document)), EventType.ADDED)

    def apply(self, document: Mapping[str, Any]) -> Document:
        """See `Cluster.apply`."""
        with self._changed:
            key, meta = _key(document), self._objects.get(_key(document), {}).get("metadata", {})
            if document["metadata"].get("uid") not in (None, meta.get("uid")):
                raise Conflict(f"{key[0]} {key[2]} is gone since it was read")
            if key not in self._objects:
                return self.create(document)
            current = self._objects[key]
            if document["metadata"].get("resourceVersion") not in (None, meta["resourceVersion"]):
                raise Conflict(f"{key[0]} {key[2]} has changed since it was read")
            fresh = self._checked(document, current)
            fresh.pop("status", None)
            if "status" in current:
                fresh["status"] = copy.deepcopy(current["status"])
            kept = {field: meta[field] for field in _SERVER_FIELDS if field in meta}
            fresh["metadata"] = {**fresh["metadata"], **kept}
            if fresh == current:
                return copy.deepcopy(current)
            if fresh.get("spec") != current.get("spec"):
                fresh["metadata"]["generation"] += 1
            if "deletionTimestamp" in meta and not fresh["metadata"].get("finalizers"):
                self._remove(key, fresh)
                return copy.deepcopy(fresh)
            return self._store(key, fresh, EventType.MODIFIED)

    def patch_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], version: str | None = None
    ) -> Document:
        """See `Cluster.patch_status`."""
        with self._changed:
            current = self._find((kind, namespace, name))
            if version is not None and version != current["metadata"]["resourceVersion"]:
                raise Conflict(f"{kind} {name} has changed since it was read")
            checked: Mapping[str, Any] = copy.deepcopy(dict(status))
            if kind in load_crds():
                # The rest was checked when it came; evaluating its rules at each status would cost tens of milliseconds.
                checked = validate_status(kind, checked, current.get("status"), source=f"{kind} {name}")
            fresh = {**copy.deepcopy(current), "status": checked}
            if fresh["status"] == current.get("status"):
                return copy.deepcopy(current)
            return self._store((kind, namespace, name), fresh, EventType.MODIFIED)

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """See `Cluster.delete`."""
        with self._changed:
            key = (kind, namespace, name)
            document = copy.deepcopy(self._find(key))
            metadata = document["metadata"]
            if uid not in (None, metadata["uid"]):
                raise Conflict(f"{kind} {name} is another one than {uid}")
            if not metadata.get("finalizers"):
                self._remove(key, document)
            elif "deletionTimestamp" not in metadata:
                metadata |= {"deletionTimestamp": self._moment(), "generation": metadata["generation"] + 1}
                self._store(key, document, EventType.MODIFIED)

    def _remove(self, key: Key, document: Document) -> None:
        """Take an object away that nothing holds any more, then what it owns."""
        del self._objects[key]
        self._emit(document, EventType.DELETED)
        uid = document["metadata"]["uid"]
        for owned in [k for k, other in sorted(self._objects.items()) if uid in _owners(other)]:
            if owned in self._objects:
                self.delete(*owned)

    def _moment(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _find(self, key: Key) -> Document:
        if key not in self._objects:
            raise NotFound(f"there is no {key[0]} {key[2]} in namespace {key[1] or '(none)'}")
        return self._objects[key]

    def _checked(self, document: Mapping[str, Any], old: Mapping[str, Any] | None) -> Document:
        kind, name = document["kind"], document["metadata"]["name"]
        if kind in load_crds():
            return validate(document, old, source=f"{kind} {name}")
        return copy.deepcopy(dict(document))

    def _store(self, key: Key, document: Document, type: EventType) -> Document:
        self._objects[key] = document
        self._emit(document, type)
        return copy.deepcopy(document)

    def _emit(self, document: Document, type: EventType) -> None:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, Event(type, copy.deepcopy(document))))
        if len(self._events) > _KEPT_EVENTS:
            self._oldest = self._events.pop(0)[0]
        self._changed.notify_all()


def _key(document: Mapping[str, Any]) -> Key:
    metadata = document["metadata"]
    return (document["kind"], metadata.get("namespace", ""), metadata["name"])


def _owners(document: Mapping[str, Any]) -> set[str]:
    return {reference["uid"] for reference in document["metadata"].get("ownerReferences", ())}
