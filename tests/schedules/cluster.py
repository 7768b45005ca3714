"""A simulated cluster: the one in memory with its past kept, and the port through which a process sees it, badly."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fedgestalt_operator.kube.crds import schema_of
from fedgestalt_operator.kube.errors import ClusterUnavailable, Conflict, Gone
from fedgestalt_operator.kube.memory import Key, MemoryCluster
from fedgestalt_operator.kube.port import Document, Event, EventType
from fedgestalt_operator.kube.structural import apply_defaults

from .faults import Gate

KEPT = 40


def copied(document: Document) -> Document:
    """A deep copy; of plain data, this is the fast way."""
    copy: Document = json.loads(json.dumps(document))
    return copy


class SimCluster(MemoryCluster):
    """Everything as it is and as it was lately. Without `strict`, documents are not held against their CRDs."""

    def __init__(self, *, now: Callable[[], float], new_uid: Callable[[], str], strict: bool) -> None:
        super().__init__(now=now, new_uid=new_uid)
        self._strict = strict
        self.past: deque[tuple[float, int, dict[Key, Document]]] = deque(maxlen=KEPT)
        self._frozen: dict[str, str] = {}

    @property
    def version(self) -> int:
        """Goes up with every write."""
        return self._version

    def copy(self, stored: Document) -> Document:
        """A copy of a stored object."""
        version = stored["metadata"]["resourceVersion"]
        frozen = self._frozen.get(version)
        if frozen is None:
            frozen = self._frozen[version] = json.dumps(stored)
        copy: Document = json.loads(frozen)
        return copy

    def get(self, kind: str, namespace: str, name: str) -> Document:
        """See `Cluster.get`."""
        return self.copy(self._find((kind, namespace, name)))

    def all(self, kind: str) -> list[Document]:
        """Every object of a kind."""
        return [self.copy(d) for (k, _, _), d in sorted(self._objects.items()) if k == kind]

    def seen(self, kind: str) -> list[Document]:
        """Every object of a kind, to be read only: not copied."""
        return [d for (k, _, _), d in sorted(self._objects.items()) if k == kind]

    def patch_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], version: str | None = None
    ) -> Document:
        """See `Cluster.patch_status`."""
        if self._strict:
            return super().patch_status(kind, namespace, name, status, version)
        current = self._find((kind, namespace, name))
        if version is not None and version != current["metadata"]["resourceVersion"]:
            raise Conflict(f"{kind} {name} has changed since it was read")
        wanted = copied(dict(status))
        if (
            kind == "SiloTask"
        ):  # the only one of ours whose status has defaults, which strict clusters apply to all
            wanted = apply_defaults(schema_of(kind)["properties"]["status"], wanted)
        if current.get("status") == wanted:
            return self.copy(current)
        fresh = self.copy(current)
        fresh["status"] = wanted
        return self._store((kind, namespace, name), fresh, EventType.MODIFIED)

    def _checked(self, document: Mapping[str, Any], old: Mapping[str, Any] | None) -> Document:
        return super()._checked(document, old) if self._strict else copied(dict(document))

    def _store(self, key: Key, document: Document, type: EventType) -> Document:
        self._objects[key] = document
        self._emit(document, type)
        return self.copy(document)

    def _emit(self, document: Document, type: EventType) -> None:
        """No events are kept: schedules decide by themselves when a watch tells the hub."""
        self._version += 1
        if type is not EventType.DELETED:
            document["metadata"]["resourceVersion"] = str(self._version)
        self.past.append((self._now(), self._version, dict(self._objects)))

    def as_it_was(
        self, oldest: float, not_before: int, choose: Callable[[int], int]
    ) -> tuple[int, dict[Key, Document]]:
        """Some state between then and now: (version, objects)."""
        eligible = [(v, o) for _, v, o in self.past if v >= not_before]
        # A state was current until the next one came.
        begun = [t for t, v, _ in self.past if v >= not_before]
        for i in range(len(eligible) - 1):
            if begun[i + 1] < oldest:
                continue
            eligible = eligible[i:]
            break
        else:
            eligible = eligible[-1:]
        return eligible[choose(len(eligible))] if eligible else (self._version, self._objects)


class ClusterPort:
    """See `kube.port.Cluster`; one for each process of the hub."""

    def __init__(self, cluster: SimCluster, gate: Gate, now: Callable[[], float], watcher: Any) -> None:
        self._cluster, self._gate, self._now, self._watcher = cluster, gate, now, watcher

    def _call(self, do: Callable[[], Any], *, write: bool = False) -> Any:
        away = self._gate.weather.cluster_away
        conflict = Conflict if write else None
        return self._gate.call(do, ClusterUnavailable, away=away, write=write, conflict=conflict)

    def _objects(self) -> dict[Key, Document]:
        """What a read is answered from: the present, or a past that this process has not seen beyond yet."""
        weather, cluster = self._gate.weather, self._cluster
        if weather.stale and weather.rng.random() < weather.stale:
            oldest = self._now() - weather.lag
            version, objects = cluster.as_it_was(oldest, self._gate.seen, weather.rng.randrange)
        else:
            version, objects = cluster.version, cluster._objects
        self._gate.seen = max(self._gate.seen, version)
        return objects

    def get(self, kind: str, namespace: str, name: str) -> Document:
        """See `Cluster.get`."""

        def do() -> Document:
            objects, key = self._objects(), (kind, namespace, name)
            if key in objects:
                return self._cluster.copy(objects[key])
            return self._cluster.get(kind, namespace, name)  # raises NotFound, or has it by now

        found: Document = self._call(do)
        return found

    def list(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Document], str]:
        """See `Cluster.list`."""
        wanted = (labels or {}).items()

        def do() -> tuple[list[Document], str]:
            found = [
                self._cluster.copy(document)
                for (k, ns, _), document in sorted(self._objects().items())
                if (k, ns) == (kind, namespace) and wanted <= document["metadata"].get("labels", {}).items()
            ]
            return found, str(self._gate.seen)

        listed: tuple[list[Document], str] = self._call(do)
        return listed

    def pages(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> Iterator[Sequence[Document]]:
        """See `Cluster.pages`."""
        yield self.list(kind, namespace, labels)[0]

    def watch(self, kind: str, namespace: str, version: str, timeout: float) -> Iterator[Event]:
        """See `Cluster.watch`: always lost. A round's reconciler must do without."""
        raise Gone(f"events after {version} are no longer kept; list {kind} and watch anew")

    def create(self, document: Mapping[str, Any]) -> Document:
        """See `Cluster.create`."""

        def do() -> Document:
            made = self._cluster.create(document)
            self._watcher.created(made)
            return made

        made: Document = self._call(do, write=True)
        return made

    def apply(self, document: Mapping[str, Any]) -> Document:
        """See `Cluster.apply`."""
        applied: Document = self._call(lambda: self._cluster.apply(document), write=True)
        return applied

    def patch_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], version: str | None = None
    ) -> Document:
        """See `Cluster.patch_status`."""

        def do() -> Document:
            self._watcher.showing(kind, name, status)
            return self._cluster.patch_status(kind, namespace, name, status, version)

        patched: Document = self._call(do, write=True)
        return patched

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """See `Cluster.delete`."""

        def do() -> None:
            self._watcher.deleting(self._cluster.get(kind, namespace, name))
            self._cluster.delete(kind, namespace, name, uid)

        self._call(do, write=True)
