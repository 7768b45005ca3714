"""The cluster port over a Kubernetes API server: JSON documents in, JSON documents out, no model classes.

Synchronous and safe for threads (see connection.py). `metadata.managedFields`, the server's bookkeeping, is
left out of every document: it is large, and a document that is applied may not carry it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import urllib3

from .connection import Connection, load_configuration, read, unavailable
from .errors import ClusterUnavailable, Gone
from .kinds import ServedKind, served
from .port import Cluster, Document, Event, EventType
from .responses import Request, refusal

FIELD_MANAGER: Final = "fedgestalt"
PAGE: Final = 250
# Fields that the served schema does not know are refused, not silently dropped.
_STRICT: Final = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
# How long after its own end a watch may stay silent before the connection counts as lost.
_WATCH_GRACE: Final = 10.0


class ApiServerCluster(Cluster):
    """A `kube.port.Cluster` over an API server."""

    def __init__(
        self, kubeconfig: Path | None = None, *, context: str | None = None, connections: int = 16
    ) -> None:
        """Nothing is sent yet.

        Args:
            kubeconfig: the file to use; None for kubectl's order ($KUBECONFIG, the pod's service account, ~/.kube/config).
            context: the kubeconfig's context; None for its current one.
            connections: how many to keep open, about one for each thread and each watch.

        Raises:
            ValueError: no usable configuration.
        """
        self._connection = Connection(
            partial(load_configuration, kubeconfig, context), connections=connections
        )

    def get(self, kind: str, namespace: str, name: str) -> Document:
        """See `Cluster.get`."""
        what = served(kind)
        request = Request("get", kind, namespace, name)
        return self._call(request, what, "GET", _path(what, namespace, name))

    def list(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Document], str]:
        """See `Cluster.list`. Large lists come in pages of one snapshot."""
        found: list[Document] = []
        version = ""
        for page in self._pages(kind, namespace, labels):
            items, version, begun_anew = page
            if begun_anew:
                found.clear()
            found.extend(items)
        return found, version

    def pages(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> Iterator[Sequence[Document]]:
        """See `Cluster.pages`."""
        for items, _, _ in self._pages(kind, namespace, labels):
            yield items

    def _pages(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None
    ) -> Iterator[tuple[Sequence[Document], str, bool]]:
        """Items, the list's resourceVersion, and whether they are the first of a list (that was begun anew)."""
        what = served(kind)
        request, path = Request("list", kind, namespace), what.path(namespace)
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        while True:
            try:
                page = _parsed(request, self._connection.request(request, "GET", path, query=query))
            except Gone:  # the snapshot is no longer kept: all of it at once, as of now
                if "limit" not in query:
                    raise
                query = {key: value for key, value in query.items() if key == "labelSelector"}
                continue
            metadata = page["metadata"]
            items = [_document(what, item) for item in page.get("items") or ()]
            yield items, metadata["resourceVersion"], "continue" not in query
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    def watch(self, kind: str, namespace: str, version: str, timeout: float) -> Iterator[Event]:
        """See `Cluster.watch`. The server's clock ends it, to the next whole second."""
        what = served(kind)
        request, path = Request("watch", kind, namespace), what.path(namespace)
        seconds = max(1, math.ceil(timeout))  # zero would be the server's own choice, about an hour
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = self._connection.request(
            request, "GET", path, query=query, read_timeout=seconds + _WATCH_GRACE
        )
        end = time.monotonic() + seconds + _WATCH_GRACE
        try:
            for line in _lines(request, response):
                yield _event(request, what, line)
                if time.monotonic() > end:
                    return
        finally:
            response.close()  # a watch that is left early has more to say: its connection cannot be used again

    def create(self, document: Mapping[str, Any]) -> Document:
        """See `Cluster.create`."""
        what, namespace, name = _identity(document)
        request = Request("create", what.kind, namespace, name)
        body = _body(document)
        body["metadata"].pop("resourceVersion", None)  # of an object that it was copied from
        return self._call(request, what, "POST", what.path(namespace), query=_STRICT, body=body)

    def apply(self, document: Mapping[str, Any]) -> Document:
        """See `Cluster.apply`. Server-side apply as field manager `fedgestalt`, forced; RBAC: patch and create."""
        what, namespace, name = _identity(document)
        return self._call(
            Request("patch", what.kind, namespace, name),
            what,
            "PATCH",
            what.path(namespace, name),
            query={**_STRICT, "force": "true"},
            body=_body(document),
            content_type="application/apply-patch+yaml",
        )

    def patch_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], version: str | None = None
    ) -> Document:
        """See `Cluster.patch_status`."""
        what = served(kind)
        patch: list[Any] = [{"op": "add", "path": "/status", "value": dict(status)}]
        if version is not None:
            # Not a `test`: its failure could not be told from an invalid status.
            patch.insert(0, {"op": "replace", "path": "/metadata/resourceVersion", "value": version})
        return self._call(
            Request("patch", f"{kind}/status", namespace, name),
            what,
            "PATCH",
            _path(what, namespace, name, "status"),
            query=_STRICT,
            body=patch,
            content_type="application/json-patch+json",
        )

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """See `Cluster.delete`. What it owns goes in the background, by the cluster's garbage collector."""
        what = served(kind)
        request = Request("delete", kind, namespace, name)
        options: Document = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        self._call(request, what, "DELETE", _path(what, namespace, name), body=options)

    def document(self, path: str) -> dict[str, Any]:
        """The JSON document at a path that is no object, such as a schema. Raises as `get`."""
        request = Request("get", path)
        return _parsed(request, self._connection.request(request, "GET", path))

    def close(self) -> None:
        """Close idle connections."""
        self._connection.close()

    def _call(self, request: Request, what: ServedKind, method: str, path: str, **options: Any) -> Document:
        return _document(what, _parsed(request, self._connection.request(request, method, path, **options)))


def _path(what: ServedKind, namespace: str, name: str, subresource: str = "") -> str:
    if not name:
        raise ValueError(f"{what.kind} without a name; give the object's name")
    return what.path(namespace, name, subresource)


def _identity(document: Mapping[str, Any]) -> tuple[ServedKind, str, str]:
    metadata = document["metadata"]
    what = served(document["kind"], document["apiVersion"])
    return what, metadata.get("namespace", ""), metadata["name"]


def _body(document: Mapping[str, Any]) -> Document:
    """What is written: never the status, which has a writer of its own, nor the server's bookkeeping."""
    body = {key: value for key, value in document.items() if key != "status"}
    body["metadata"] = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return body


def _document(what: ServedKind, document: Document) -> Document:
    """A document as the port gives it; items of lists of built-in kinds do not say what they are."""
    document.setdefault("apiVersion", what.api_version)
    document.setdefault("kind", what.kind)
    document.get("metadata", {}).pop("managedFields", None)
    return document


def _parsed(request: Request, response: urllib3.BaseHTTPResponse) -> Document:
    try:
        parsed = json.loads(read(request, response))
    except ValueError as error:
        raise unavailable(request, error) from error
    if not isinstance(parsed, dict):
        raise ClusterUnavailable(f"{request}: the answer is no JSON object")
    return parsed


def _lines(request: Request, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of a response as they arrive."""
    rest = b""
    try:
        for chunk in response.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unavailable(request, error) from error


def _event(request: Request, what: ServedKind, line: bytes) -> Event:
    try:
        change = json.loads(line)
        type, body = change["type"], change["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise unavailable(request, error) from error
    if type == "ERROR":
        raise refusal(request, int(body.get("code") or 500), body)
    if type == EventType.BOOKMARK:
        body["metadata"].setdefault("name", "")
    return Event(EventType(type), _document(what, body))
